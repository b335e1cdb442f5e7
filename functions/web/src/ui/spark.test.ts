import { expect, test } from 'vitest';
import { sparkPath } from './spark';

const MINUTE = 60_000;
const DAY = 1_440 * MINUTE;
/** Times before the end, in minutes. */
const times = (...minutes: number[]) => minutes.map((minute) => DAY - minute * MINUTE);

test.each([
  ['nothing', [], [], ''],
  ['one value', [0], [50], 'M160 16h0'],
  ['from the bottom to the top', [720, 715], [0, 100], 'M80 31h0L80.6 1'],
  ['what is above the top', [720, 715], [0, 200], 'M80 31h0L80.6 1'],
  ['a value that is not known', [720, 715, 710], [0, null, 0], 'M80 31h0M81.1 31h0'],
  ['a sample that is missing', [720, 710], [0, 0], 'M80 31h0L81.1 31'],
  ['a gap', [720, 700], [0, 0], 'M80 31h0M82.2 31h0'],
  ['what is too old', [1_441, 1_440], [0, 0], 'M0 31h0'],
] as const)('%s', (_name, minutes, values, path) => {
  expect(sparkPath(times(...minutes), values, DAY, 100)).toBe(path);
});
