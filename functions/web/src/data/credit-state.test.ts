import { expect, test } from 'vitest';
import type { SchemaCredit } from '../api/openapi.gen';
import { creditState, horizon } from './credit-state';

const NOW = Date.parse('2026-11-27T12:00:00Z');
const inHours = (hours: number) => new Date(NOW + hours * 3_600_000).toISOString();
const credit = (change: Partial<SchemaCredit> = {}): SchemaCredit => ({
  balance: 12.4,
  owed: 0,
  burnPerHour: 0.14,
  hoursLeft: 88,
  lowAt: inHours(74),
  emptyAt: inHours(88),
  requiredForNextAgent: 5,
  scheduledShutdowns: [],
  unpaidBackups: [],
  ...change,
});

test('enough credit is calm', () => {
  expect(creditState(credit(), NOW)).toMatchObject({ tone: 'off', lasts: '3 days 16 h left' });
});
test('credit that outlasts what the API can show is calm', () => {
  const end = '9999-12-31T23:59:59.000Z';
  const state = creditState(credit({ lowAt: end, emptyAt: end, hoursLeft: 8e9 }), NOW);
  expect(state).toMatchObject({ tone: 'off', lasts: 'more than ten years left' });
  expect(state.sentence).toContain('for more than 90 days');
});
test('below the mark it is amber', () => {
  expect(creditState(credit({ lowAt: inHours(-1) }), NOW).tone).toBe('warn');
  expect(creditState(credit({ lowAt: null }), NOW).tone).toBe('warn');
});
test('a scheduled shutdown is red and comes first', () => {
  const scheduledShutdowns = [{ agentId: 'a', agentName: 'ada', scheduledShutdownAt: inHours(31.2) }];
  expect(creditState(credit({ scheduledShutdowns }), NOW)).toMatchObject({
    tone: 'bad',
    lasts: 'shutdown in 31 h 12 min',
  });
});
test('when nothing is used the credit is not called endless', () => {
  expect(creditState(credit({ emptyAt: null, hoursLeft: null, burnPerHour: 0 }), NOW).lasts).toBe('nothing in use');
});
test('the horizon is filled as far as the credit reaches, and marks what lies on it', () => {
  const { filled, marks } = horizon(credit({ emptyAt: inHours(7 * 24), lowAt: inHours(20 * 24) }), NOW);
  expect(filled).toBeCloseTo(0.5);
  expect(marks.map((mark) => mark.kind)).toEqual(['empty']);
});
