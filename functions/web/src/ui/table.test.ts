import { expect, test } from 'vitest';
import { compare, differs, keepOrder, nameKey } from './table-order';
import { offsets, visible } from './table-window';

test('an unknown value is last in both directions', () => {
  // The table negates the comparison for descending order.
  expect(compare(null, 1, false)).toBe(1);
  expect(compare(null, 1, true)).toBe(-1);
  expect(compare(1, 2, false)).toBe(-1);
});
test('names sort by their numbers', () => {
  expect(nameKey('Agent 2') < nameKey('agent 10')).toBe(true);
});
test('a row that comes or goes is no change of places', () => {
  expect(differs(['a', 'b'], ['a', 'c', 'b'])).toBe(false);
  expect(differs(['a', 'b', 'c'], ['a', 'c'])).toBe(false);
  expect(differs(['a', 'b'], ['b', 'a'])).toBe(true);
});
test('a held order drops what is gone and appends what is new', () => {
  expect(keepOrder(['b', 'x', 'a'], [{ id: 'a' }, { id: 'b' }, { id: 'c' }]).map((row) => row.id)).toEqual([
    'b',
    'a',
    'c',
  ]);
});

const keys = Array.from({ length: 1000 }, (_, index) => `row-${index}`);
test('measured heights move what comes after them', () => {
  const starts = offsets(keys, new Map([['row-1', 100]]), 45);
  expect(starts.slice(0, 4)).toEqual([0, 45, 145, 190]);
  expect(starts.at(-1)).toBe(1000 * 45 + 55);
});
test('the window covers what is visible, and stays inside', () => {
  const starts = offsets(keys, new Map(), 45);
  const middle = visible(starts, 450 * 45, 900);
  expect(middle.first).toBeLessThanOrEqual(450);
  expect(middle.last).toBeGreaterThanOrEqual(470);
  expect(middle.last - middle.first).toBeLessThan(60);
  expect(visible(starts, -500, 900).first).toBe(0);
  expect(visible(starts, 10_000_000, 900).last).toBe(999);
  expect(visible([0], 0, 900)).toEqual({ first: 0, last: 0 });
});
