/** What the billing runs say about the hours: which are charged, which are not, and what stands out. Pure. */
import type { RunEntry } from '../../api/operations';
import { clockTime, many, money, span } from '../../ui/format';
import type { Tone } from '../../ui/status';

const HOUR = 3_600_000;
/** A run of an hour begins at its end and is given this long before its absence means something. */
const PATIENCE = 10 * 60_000;
/** The alarm's limit: no complete run for this long. */
export const LATE = 90 * 60_000;

export type Gap = { readonly kind: 'gap'; readonly id: string; readonly from: number; readonly hours: number };
export type RunRow = { readonly kind: 'run'; readonly id: string; readonly run: RunEntry; readonly state: RunState };
export type Row = Gap | RunRow;

export type RunState = { readonly tone: Tone; readonly word: string; readonly bad: boolean };

export function runState(run: RunEntry, madeUp: boolean, now: number): RunState {
  if (run.complete) return { tone: 'ok', word: 'Complete', bad: false };
  if (run.finishedAt === null) {
    if (now - Date.parse(run.startedAt) < PATIENCE) return { tone: 'busy', word: 'Under way', bad: false };
    return { tone: madeUp ? 'warn' : 'bad', word: 'Never ended', bad: !madeUp };
  }
  return { tone: madeUp ? 'warn' : 'bad', word: 'Incomplete', bad: !madeUp };
}

/** Newest first, with a row for hours that have no run. `runs` are newest first, as the server lists them. */
export function withGaps(runs: readonly RunEntry[], now: number): readonly Row[] {
  const rows: Row[] = [];
  const gap = (from: number, to: number) => {
    const hours = Math.round((to - from) / HOUR);
    if (hours > 0) rows.push({ kind: 'gap', id: `gap ${from}`, from, hours });
  };
  let lastHour: number | null = null;
  let madeUp = false;
  for (const run of runs) {
    const hour = Date.parse(run.hour);
    if (lastHour === null) gap(hour, Math.floor((now - PATIENCE) / HOUR) * HOUR);
    else if (lastHour - hour > HOUR) gap(hour, lastHour - HOUR);
    lastHour = lastHour === null ? hour : Math.min(lastHour, hour);
    rows.push({ kind: 'run', id: run.id, run, state: runState(run, madeUp, now) });
    madeUp ||= run.complete;
  }
  return rows;
}

export function runsSentence(rows: readonly Row[], now: number): string {
  const runs = rows.filter((row) => row.kind === 'run');
  if (runs.length === 0) return 'Billing has not run yet.';
  const complete = runs.find((row) => row.run.complete);
  const hours = rows.reduce((sum, row) => (row.kind === 'gap' ? sum + row.hours : sum), 0);
  const bad = runs.filter((row) => row.state.bad).length;
  const last = complete
    ? `Everybody is charged up to ${clockTime(Date.parse(complete.run.hour), now)}.`
    : 'No run in this list is complete.';
  const late = complete ? now - Date.parse(complete.run.hour) : 0;
  const wrong = [
    late > LATE ? `the last complete run is ${span(late)} old` : '',
    bad ? `${many(bad, 'run is', 'runs are')} incomplete and not made up for` : '',
    hours ? `${many(hours, 'hour has', 'hours have')} no run` : '',
  ].filter(Boolean);
  return wrong.length > 0 ? `${last} But ${wrong.join(', ')}.` : last;
}

/** Later runs charge those hours, so a gap is no loss, but it is a sign. */
export const gapSentence = (gap: Gap, now: number): string =>
  `No run for ${many(gap.hours, 'hour')}: after ${clockTime(gap.from, now)}, up to ${clockTime(gap.from + gap.hours * HOUR, now)}`;

export const resultOf = (run: RunEntry): string =>
  [
    `${money(run.charged)} charged`,
    run.owed > 0 ? `${money(run.owed)} owed` : '',
    run.warned > 0 ? `${run.warned} warned` : '',
    run.suspended > 0 ? `${run.suspended} suspended` : '',
    run.errors > 0 ? `${many(run.errors, 'failure')}` : '',
  ]
    .filter(Boolean)
    .join(', ');
