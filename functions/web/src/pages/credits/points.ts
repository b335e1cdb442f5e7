/** What the chart shows: the past in steps, and the forecast from what is known now. Pure. Only for drawing. */
import type { SchemaCredit, SchemaSeriesStep } from '../../api/openapi.gen';
import { isFar, many, money, until } from '../../ui/format';

export type Range = '7d' | '30d' | '90d' | '1y';
type RangeData = { readonly label: string; readonly days: number; readonly step: 'hour' | 'day' };
export const RANGES: Readonly<Record<Range, RangeData>> = {
  '7d': { label: '7 days', days: 7, step: 'hour' },
  '30d': { label: '30 days', days: 30, step: 'hour' },
  '90d': { label: '90 days', days: 90, step: 'day' },
  '1y': { label: 'a year', days: 365, step: 'day' },
};
export const isRange = (text: string): text is Range => text in RANGES;

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
export const stepLength = (step: 'hour' | 'day'): number => (step === 'hour' ? HOUR : DAY);

/** Rounded down to the step, so that the same question is asked until the next step begins. */
export function startOf(range: Range, now: number): string {
  const length = stepLength(RANGES[range].step);
  return new Date(Math.floor((now - RANGES[range].days * DAY) / length) * length).toISOString();
}

export type Event = { readonly at: number; readonly label: string };
export type Points = {
  /** Seconds since 1970, ascending; the other lists have an entry for each. */
  readonly x: readonly number[];
  readonly past: readonly (number | null)[];
  readonly forecast: readonly (number | null)[];
  readonly low: number;
  readonly shutdowns: readonly Event[];
};

/**
 * The balance at which the warning comes. Known exactly while it lies ahead, and not too far: it is where the forecast
 * meets `lowAt`.
 */
export function lowMark(credit: SchemaCredit, now: number, usual: number): number {
  if (credit.lowAt === null) return usual;
  const lowAt = Date.parse(credit.lowAt);
  const ahead = (lowAt - now) / HOUR;
  const mark = credit.balance - credit.burnPerHour * ahead;
  // The two moments are some seconds apart, which is worth less than a few cents.
  if (ahead <= 0 || isFar(lowAt, now) || mark < 0 || Math.abs(mark - usual) < 0.05) return usual;
  return Math.round(mark * 100) / 100;
}

export function points(
  series: readonly SchemaSeriesStep[],
  step: 'hour' | 'day',
  credit: SchemaCredit,
  now: number,
  usualLow: number,
): Points {
  const length = stepLength(step);
  const known = new Map<number, { past: number | null; forecast: number | null }>();
  const first = series[0];
  if (first) {
    const before = first.balance + first.charged - first.added;
    known.set(Date.parse(first.at), { past: before, forecast: null });
  }
  // A step's balance is that at its end, and the present step has not ended.
  for (const { at, balance } of series) {
    const end = Math.min(Date.parse(at) + length, now);
    if (end > 0) known.set(end, { past: balance, forecast: null });
  }
  const begin = first ? Date.parse(first.at) : now - DAY;
  const shutdowns = credit.scheduledShutdowns.map((one) => ({
    at: Date.parse(one.scheduledShutdownAt),
    label: one.agentName ?? one.agentId.slice(0, 8),
  }));
  const span = Math.max(now - begin, DAY);
  // What is owed could not be charged: the rest stays until credit is added.
  const stuck = credit.owed > 0;
  const empty = credit.emptyAt === null || stuck ? null : Date.parse(credit.emptyAt);
  const last = Math.max(...shutdowns.map((one) => one.at), empty ?? 0, now + span / 4);
  const end = Math.min(last, now + span / 2);
  known.set(now, { past: credit.balance, forecast: credit.balance });
  const burn = stuck ? 0 : credit.burnPerHour;
  const at = (moment: number) => Math.max(0, credit.balance - (burn * (moment - now)) / HOUR);
  if (empty !== null && empty > now && empty < end) known.set(empty, { past: null, forecast: 0 });
  known.set(end, { past: null, forecast: at(end) });
  const x = [...known.keys()].sort((a, b) => a - b);
  return {
    x: x.map((moment) => moment / 1000),
    past: x.map((moment) => known.get(moment)?.past ?? null),
    forecast: x.map((moment) => known.get(moment)?.forecast ?? null),
    low: lowMark(credit, now, usualLow),
    shutdowns: shutdowns.filter((one) => one.at >= begin && one.at <= end),
  };
}

/** The chart in a sentence, for those who do not see it and for those in a hurry. */
export function chartSentence(
  series: readonly SchemaSeriesStep[],
  range: Range,
  credit: SchemaCredit,
  now: number,
): string {
  const first = series[0];
  const balances = [...series.map((step) => step.balance), credit.balance];
  const start = first ? money(first.balance + first.charged - first.added) : money(credit.balance);
  const past = `Over the last ${RANGES[range].label.replace(/^a /, '')} the balance went from ${start} to ${money(credit.balance)}, between ${money(Math.min(...balances))} and ${money(Math.max(...balances))}.`;
  if (credit.emptyAt === null) return `${past} Nothing is being used now.`;
  const stops = credit.scheduledShutdowns.length;
  const stopped = stops > 0 ? ` ${many(stops, 'shutdown is', 'shutdowns are')} scheduled.` : '';
  if (credit.owed > 0)
    return `${past} It does not pay for the next hour, and ${money(credit.owed)} are owed.${stopped}`;
  const empty = Date.parse(credit.emptyAt);
  const next = empty <= now ? 'It is used up.' : `It lasts ${until(empty, now)}.`;
  return `${past} ${next}${stopped}`;
}
