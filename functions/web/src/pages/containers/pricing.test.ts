import { expect, test } from 'vitest';
import { effectOf, rateOf, requestOf } from './pricing';

test('only rates that the API takes are sent', () => {
  expect(['0', '0.015', '100', '100.0001', '0.00001', '-1', '1e1', '', ' 2 '].map(rateOf)).toEqual([
    0,
    0.015,
    100,
    null,
    null,
    null,
    null,
    null,
    2,
  ]);
  expect(requestOf('own', 'x')).toBeNull();
  expect(requestOf('own', '0.015')).toEqual({ exempt: false, hourlyRate: 0.015 });
  expect(requestOf('list', 'x')).toEqual({ exempt: false, hourlyRate: null });
  expect(requestOf('exempt', '')).toEqual({ exempt: true });
});

test('the effect is spelled out with the amounts', () => {
  expect(effectOf('own', 0.015, 0.02)[0]).toBe(
    'From now on it costs $0.015 an hour while it runs; the list price is $0.02.',
  );
  expect(effectOf('exempt', null, 0.02)[1]).toContain('stays owed');
});
