import { expect, test } from 'vitest';
import { offsetFrom } from './clock';

const HOUR = 3_600_000;
const date = 'Fri, 27 Nov 2026 12:00:00 GMT';
const at = Date.parse(date);

test('a clock that is right needs no offset', () => {
  expect(offsetFrom(date, at + 300, 0)).toBe(0);
});
test('a clock that is an hour fast is corrected', () => {
  expect(Math.abs(offsetFrom(date, at + HOUR, 0) + HOUR)).toBeLessThan(1000);
});
test('whole seconds in the header do not make times jump', () => {
  expect(offsetFrom(date, at + HOUR + 900, -HOUR)).toBe(-HOUR);
});
test('a missing header changes nothing', () => {
  expect(offsetFrom(null, at, 5)).toBe(5);
});
