import { describe, expect, test } from 'vitest';
import type { RunEntry } from '../../api/operations';
import { resultOf, runState, runsSentence, withGaps } from './runs';

const HOUR = 3_600_000;
const now = Date.parse('2026-11-27T14:32:00.000Z');
const run = (hour: number, change: Partial<RunEntry> = {}): RunEntry => ({
  id: String(hour),
  hour: `2026-11-27T${String(hour).padStart(2, '0')}:00:00.000Z`,
  source: 'schedule',
  startedAt: `2026-11-27T${String(hour).padStart(2, '0')}:00:01.000Z`,
  finishedAt: `2026-11-27T${String(hour).padStart(2, '0')}:00:03.000Z`,
  complete: true,
  organizations: 2,
  agentsProcessed: 6,
  agentsBilled: 6,
  charges: 6,
  warned: 0,
  suspended: 0,
  errors: 0,
  repairedSpans: 0,
  charged: 0.9625,
  owed: 0,
  writtenOff: 0,
  uncollected: 0,
  oldestUndecided: null,
  failures: [],
  ...change,
});
const kinds = (runs: readonly RunEntry[], at = now) =>
  withGaps(runs, at).map((row) => (row.kind === 'gap' ? `${row.hours} h` : row.run.hour.slice(11, 13)));

describe('hours without a run', () => {
  test('stand between the runs, and before the first when it is late', () => {
    expect(kinds([run(14), run(13), run(12)])).toEqual(['14', '13', '12']);
    expect(kinds([run(14), run(11)])).toEqual(['14', '2 h', '11']);
    expect(kinds([run(12)])).toEqual(['2 h', '12']);
  });
  test('a run that is only just due is not missed', () => {
    const justAfter = Date.parse('2026-11-27T15:04:00.000Z');
    expect(kinds([run(14)], justAfter)).toEqual(['14']);
    expect(kinds([run(14)], justAfter + HOUR / 2)).toEqual(['1 h', '14']);
  });
  test('several runs of one hour are no gap', () => {
    expect(kinds([run(14), run(14, { id: 'again', complete: false }), run(13)])).toEqual(['14', '14', '13']);
  });
});

describe('runs that are not complete', () => {
  test('are bad until a later one made up for them', () => {
    const states = withGaps([run(14, { complete: false }), run(13), run(12, { complete: false })], now).map((row) =>
      row.kind === 'run' ? row.state : null,
    );
    expect(states[0]).toEqual({ tone: 'bad', word: 'Incomplete', bad: true });
    expect(states[2]).toEqual({ tone: 'warn', word: 'Incomplete', bad: false });
  });
  test('one that never ended is told apart from one under way', () => {
    const open = run(14, { complete: false, finishedAt: null });
    expect(runState(open, false, now).word).toBe('Never ended');
    expect(runState(open, false, Date.parse(open.startedAt) + 5_000).word).toBe('Under way');
  });
});

test('the sentence says how far everybody is charged, and what is wrong', () => {
  expect(runsSentence([], now)).toBe('Billing has not run yet.');
  expect(runsSentence(withGaps([run(14), run(13)], now), now)).toMatch(/^Everybody is charged up to .*\.$/);
  const late = runsSentence(withGaps([run(12)], now), now);
  expect(late).toContain('the last complete run is 2 h 32 min old');
  expect(late).toContain('2 hours have no run');
  expect(runsSentence(withGaps([run(14, { complete: false })], now), now)).toContain('1 run is incomplete');
});

test('the result leaves out what is zero', () => {
  expect(resultOf(run(14))).toBe('$0.96 charged');
  expect(resultOf(run(14, { owed: 3, errors: 1, suspended: 2 }))).toBe(
    '$0.96 charged, $3.00 owed, 2 suspended, 1 failure',
  );
});
