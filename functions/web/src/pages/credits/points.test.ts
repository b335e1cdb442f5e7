import { describe, expect, test } from 'vitest';
import type { SchemaCredit, SchemaSeriesStep } from '../../api/openapi.gen';
import { chartSentence, lowMark, points, startOf } from './points';

const HOUR = 3_600_000;
const now = Date.parse('2026-11-27T14:30:00.000Z');
const at = (hours: number) => new Date(now + hours * HOUR).toISOString();
const credit = {
  balance: 10,
  owed: 0,
  burnPerHour: 1,
  hoursLeft: 10,
  lowAt: at(8),
  emptyAt: at(10),
  requiredForNextAgent: 5,
  scheduledShutdowns: [],
  unpaidBackups: [],
} as unknown as SchemaCredit;
const series: SchemaSeriesStep[] = [
  { at: '2026-11-27T12:00:00.000Z', balance: 12, charged: 1, added: 0 },
  { at: '2026-11-27T13:00:00.000Z', balance: 11, charged: 1, added: 0 },
  { at: '2026-11-27T14:00:00.000Z', balance: 10, charged: 1, added: 0 },
];
const pairs = (known: ReturnType<typeof points>, list: 'past' | 'forecast') =>
  known.x.flatMap((x, index) => {
    const y = known[list][index];
    return y === null || y === undefined ? [] : [[(x * 1000 - now) / HOUR, y]];
  });

describe('points', () => {
  test("a step's balance stands at its end, the present one's at this moment", () => {
    expect(pairs(points(series, 'hour', credit, now, 2), 'past')).toEqual([
      [-2.5, 13],
      [-1.5, 12],
      [-0.5, 11],
      [0, 10],
    ]);
  });
  test('the forecast falls from now and stops at zero', () => {
    const forecast = pairs(points(series, 'hour', credit, now, 2), 'forecast');
    expect(forecast[0]).toEqual([0, 10]);
    expect(forecast.at(-1)).toEqual([10, 0]);
    const beyond = { ...credit, scheduledShutdowns: [{ agentId: 'a', agentName: 'ada', scheduledShutdownAt: at(12) }] };
    const known = points(series, 'hour', beyond, now, 2);
    expect(pairs(known, 'forecast').slice(1)).toEqual([
      [10, 0],
      [12, 0],
    ]);
    expect(known.shutdowns).toEqual([{ at: now + 12 * HOUR, label: 'ada' }]);
  });
  test('what is far away does not press the past into a corner', () => {
    const far = points(series, 'hour', { ...credit, burnPerHour: 0.01, emptyAt: at(1000), lowAt: at(800) }, now, 2);
    expect(((far.x.at(-1) ?? 0) * 1000 - now) / HOUR).toBe(12);
  });
  test('credit that does not pay for the next hour stays until more is added', () => {
    const stuck = points(series, 'hour', { ...credit, balance: 0.39, owed: 3 }, now, 2);
    expect(pairs(stuck, 'forecast').at(-1)).toEqual([6, 0.39]);
    expect(chartSentence(series, '7d', { ...credit, owed: 3 }, now)).toContain('$3.00 are owed');
  });
  test('without use and without a past there is still a line', () => {
    const quiet = points([], 'hour', { ...credit, burnPerHour: 0, emptyAt: null, lowAt: null }, now, 2);
    expect(pairs(quiet, 'forecast')).toEqual([
      [0, 10],
      [6, 10],
    ]);
  });
});

test("the low mark is the organization's own while it lies ahead", () => {
  expect(lowMark(credit, now, 5)).toBe(2);
  expect(lowMark({ ...credit, lowAt: at(-3) }, now, 5)).toBe(5);
  expect(lowMark({ ...credit, lowAt: null }, now, 5)).toBe(5);
  const end = '9999-12-31T23:59:59.000Z';
  expect(lowMark({ ...credit, balance: 200_000, burnPerHour: 0.0025, lowAt: end, emptyAt: end }, now, 5)).toBe(5);
});

test('the same question is asked until the next step begins', () => {
  expect(startOf('7d', now)).toBe('2026-11-20T14:00:00.000Z');
  expect(startOf('7d', now + HOUR / 3)).toBe('2026-11-20T14:00:00.000Z');
  expect(startOf('90d', now)).toBe('2026-08-29T00:00:00.000Z');
});

test('the sentence says where the balance came from and how far it goes', () => {
  const sentence = chartSentence(series, '7d', credit, now);
  expect(sentence).toContain('from $13.00 to $10.00, between $10.00 and $12.00');
  expect(sentence).toContain('It lasts until');
  expect(chartSentence([], '30d', { ...credit, emptyAt: null }, now)).toContain('Nothing is being used now.');
});
