/** The only place that turns numbers and moments into words. */
const local = (options: Intl.DateTimeFormatOptions, zone?: string) =>
  new Intl.DateTimeFormat('en-GB', { ...options, ...(zone === undefined ? {} : { timeZone: zone }) });

const TIME = local({ hour: '2-digit', minute: '2-digit' });
const TIME_SECONDS = local({ hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DAY = local({ day: 'numeric', month: 'short' });
const DAY_YEAR = local({ day: 'numeric', month: 'short', year: 'numeric' });
const WEEKDAY = local({ weekday: 'short', hour: '2-digit', minute: '2-digit' });
const LONG = local({ dateStyle: 'medium', timeStyle: 'long' });
const LONG_UTC = local({ dateStyle: 'medium', timeStyle: 'medium' }, 'UTC');

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAYS = 24 * HOUR;
const TEN_YEARS = 3652 * DAYS;

export const longTime = (at: number): string => `${LONG.format(at)} (${LONG_UTC.format(at)} UTC)`;

export function shortDate(at: number, now = Date.now()): string {
  return (new Date(at).getFullYear() === new Date(now).getFullYear() ? DAY : DAY_YEAR).format(at);
}

export function clockTime(at: number, now: number, seconds = false): string {
  const time = (seconds ? TIME_SECONDS : TIME).format(at);
  const distance = Math.abs(at - now);
  if (new Date(at).toDateString() === new Date(now).toDateString()) return time;
  return distance < 6 * DAYS ? WEEKDAY.format(at).replace(',', '') : `${shortDate(at, now)} ${time}`;
}

/** So far ahead that its date means nothing. The API also gives the end of the year 9999 for all that comes later. */
export const isFar = (at: number, now: number): boolean => at - now > TEN_YEARS;

/** How long something lasts that ends then. */
export const until = (at: number, now: number): string =>
  isFar(at, now) ? 'for more than ten years' : `until ${clockTime(at, now)}`;

/** How long ago, in one unit; null when a date says more. */
export function ago(ms: number): string | null {
  if (ms < 5 * SECOND) return 'now';
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAYS) return `${Math.floor(ms / HOUR)} h`;
  return null;
}

/** A length of time in its two largest units. */
export function span(ms: number): string {
  if (ms > TEN_YEARS) return 'more than ten years';
  const days = Math.floor(ms / DAYS);
  const hours = Math.floor(ms / HOUR);
  const minutes = Math.floor(ms / MINUTE);
  if (days >= 3) return `${days} days ${hours % 24} h`;
  if (hours >= 1) return `${hours} h ${minutes % 60} min`;
  if (minutes >= 1) return `${minutes} min`;
  return `${Math.max(0, Math.ceil(ms / SECOND))} s`;
}

const MINUS = '−';
const figures = (digits: number) =>
  new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const FIGURES = new Map([2, 4, 6].map((digits) => [digits, figures(digits)]));

/** Amounts arrive with six decimals and are only formatted here, never added. A rounded zero is not shown as zero. */
export function money(amount: number, digits: 2 | 4 | 6 = 2): string {
  const size = Math.abs(amount);
  const smallest = 10 ** -digits;
  const sign = amount < 0 ? MINUS : '';
  if (size > 0 && size < smallest / 2) return `${sign}<$${smallest.toFixed(digits)}`;
  return `${sign}$${FIGURES.get(digits)?.format(size)}`;
}

const UNIT_PRICE = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 4 });
/** What something costs per hour, in a sentence. Prices have at most four decimals, and none of them is rounded away. */
export const unitPrice = (amount: number): string => `$${UNIT_PRICE.format(amount)}`;

export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  if (size < 1024 ** 2) return `${Math.round(size / 1024)} KB`;
  return size < 1024 ** 3 ? `${(size / 1024 ** 2).toFixed(1)} MB` : `${(size / 1024 ** 3).toFixed(1)} GB`;
}

const COUNT = new Intl.NumberFormat('en-US');
export const count = (n: number): string => COUNT.format(n);

/** "1 agent", "12 agents". */
export const many = (n: number, one: string, more = `${one}s`): string => `${count(n)} ${n === 1 ? one : more}`;

/** Order of names as people expect it: "agent 2" before "agent 10". */
const COLLATOR = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
export const byName = (a: string, b: string): number => COLLATOR.compare(a, b);
