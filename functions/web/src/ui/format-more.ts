/** Further words for numbers and moments, beside format.ts. */
import { clockTime, shortDate } from './format';

const DAY_UTC = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  timeZone: 'UTC',
});
const DAY = 86_400_000;

/** A day of the server's calendar, which is UTC: by the local calendar it could be the day before. */
export const utcDay = (at: string | number): string =>
  DAY_UTC.format(typeof at === 'number' ? at : Date.parse(at)).replace(',', '');

/** "2026-11-27", in UTC. */
export const isoDay = (at: number): string => new Date(at).toISOString().slice(0, 10);

/** The day after "2026-11-27", or null if that is no day. */
export function nextDay(day: string): string | null {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
  return Number.isNaN(at) ? null : isoDay(at + DAY);
}

/** "0:59:12.5" */
export function hms(seconds: number): string {
  const whole = Math.floor(seconds);
  const rest = Math.round((seconds - whole) * 1e6) / 1e6;
  const two = (n: number) => String(n).padStart(2, '0');
  const fraction = rest > 0 ? String(rest).slice(1) : '';
  return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}${fraction}`;
}

const SECONDS = new Intl.NumberFormat('en-US', { maximumFractionDigits: 6 });
/** "3,552.5 s" */
export const seconds = (n: number): string => `${SECONDS.format(n)} s`;

/** "59 h", "2.5 h": hours of use, from seconds. */
const HOURS = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 });
export const hours = (n: number): string => (n === 0 ? '0 h' : n < 180 ? '<0.1 h' : `${HOURS.format(n / 3600)} h`);

/** "14:00 to 15:00", with the day where it is not today. */
export function period(from: number, to: number, now: number): string {
  const exact = from % 60_000 !== 0 || to % 60_000 !== 0;
  const time = (at: number) => clockTime(at, at, exact);
  const day = (at: number, near: number) =>
    new Date(at).toDateString() === new Date(near).toDateString() ? '' : `${shortDate(at, now)} `;
  return `${day(from, now)}${time(from)} to ${to - from > DAY / 2 ? day(to, from) : ''}${time(to)}`;
}

const SIZE = new Intl.NumberFormat('en-US');
export const percent = (n: number): string => `${SIZE.format(Math.round(n))} %`;
