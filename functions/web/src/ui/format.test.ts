import { expect, test } from 'vitest';
import { ago, byName, bytes, many, money, span, unitPrice, until } from './format';

test.each([
  [12.4, 2, '$12.40'],
  [-0.02, 6, '−$0.020000'],
  [0, 2, '$0.00'],
  [0.0025, 2, '<$0.01'],
  [0.0025, 4, '$0.0025'],
  [1234567.891, 2, '$1,234,567.89'],
] as const)('%d with %d decimals is %s', (amount, digits, text) => {
  expect(money(amount, digits)).toBe(text);
});

test('a price has all its decimals, and two at least', () => {
  expect([0.02, 0.0125, 0.0025, 0.5, 1234.5].map(unitPrice)).toEqual([
    '$0.02',
    '$0.0125',
    '$0.0025',
    '$0.50',
    '$1,234.50',
  ]);
});

test.each([
  [1_000, 'now'],
  [8_000, '8 s'],
  [7 * 60_000, '7 min'],
  [2 * 3_600_000, '2 h'],
  [30 * 3_600_000, null],
  [-60_000, 'now'],
])('%d ms ago is %s', (ms, text) => {
  expect(ago(ms)).toBe(text);
});

test.each([
  [0, '0 s'],
  [-5_000, '0 s'],
  [12_000, '12 s'],
  [60_000, '1 min'],
  [31.2 * 3_600_000, '31 h 12 min'],
  [88 * 3_600_000, '3 days 16 h'],
  [3652 * 24 * 3_600_000, '3652 days 0 h'],
  [1e15, 'more than ten years'],
])('%d ms are %s', (ms, text) => {
  expect(span(ms)).toBe(text);
});

test('a date that is far ahead is not shown', () => {
  const now = Date.parse('2026-11-27T12:00:00Z');
  expect(until(Date.parse('9999-12-31T23:59:59.000Z'), now)).toBe('for more than ten years');
  expect(until(Date.parse('2030-06-15T12:00:00Z'), now)).toContain('until 15 Jun 2030');
});

test('numbers in names sort as numbers', () => {
  expect(['agent 10', 'agent 2'].sort(byName)).toEqual(['agent 2', 'agent 10']);
});
test('counts and sizes', () => {
  expect([many(1, 'agent'), many(2000, 'agent'), bytes(3_500_000)]).toEqual(['1 agent', '2,000 agents', '3.3 MB']);
});
