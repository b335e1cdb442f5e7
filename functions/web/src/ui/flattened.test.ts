import { expect, test } from 'vitest';
import { flattened } from './flattened';

test('every leaf has its path and a text, null and false too', () => {
  expect(flattened({ a: { b: [{ c: 1 }, { c: null }] }, d: false, e: ['x', 2], f: '' })).toEqual([
    ['a.b[0].c', '1'],
    ['a.b[1].c', 'none'],
    ['d', 'no'],
    ['e', 'x, 2'],
    ['f', '(empty)'],
  ]);
  expect(flattened({})).toEqual([]);
  expect(flattened(null)).toEqual([]);
  expect(flattened(Array.from({ length: 99 }, () => ({ a: 1 })))).toHaveLength(60);
});
