import { expect, test } from 'vitest';
import { append, EMPTY_LOG, KEPT, lastStamp, pieces, plain } from './log-lines';

const line = (second: number, text: string) => `2026-11-27T14:02:${String(second).padStart(2, '0')}.123456789Z ${text}`;
const texts = (log: typeof EMPTY_LOG) => log.lines.map((one) => one.text);

test('what is held already is not added again', () => {
  const one = append(EMPTY_LOG, `${line(1, 'a')}\n${line(2, 'b')}\n`);
  const two = append(one, `${line(2, 'b')}\n${line(3, 'c')}\n`);
  expect(texts(two)).toEqual(['a', 'b', 'c']);
  expect(lastStamp(two)).toBe('2026-11-27T14:02:03.123456789Z');
});
test('two equal lines of one moment are both kept', () => {
  const one = append(EMPTY_LOG, `${line(1, 'tick')}\n`);
  expect(texts(append(one, `${line(1, 'tick')}\n${line(1, 'tick')}\n`))).toEqual(['tick', 'tick']);
});
test('an answer without news keeps the identity', () => {
  const one = append(EMPTY_LOG, line(1, 'a'));
  expect(append(one, `${line(1, 'a')}\n`)).toBe(one);
  expect(append(one, '')).toBe(one);
});
test('an answer that does not reach back to the last line says that lines may be missing, once', () => {
  const one = append(EMPTY_LOG, `${line(1, 'a')}\n`);
  const two = append(one, `${line(4, 'd')}\n${line(5, 'e')}\n`);
  expect(texts(two)).toEqual(['a', expect.stringContaining('Lines may be missing here'), 'd', 'e']);
  expect(two.lines.map((one) => [one.seq, one.gap])).toEqual([
    [0, undefined],
    [1, true],
    [2, undefined],
    [3, undefined],
  ]);
  const three = append(two, `${line(5, 'e')}\n${line(6, 'f')}\n`);
  expect(three.lines.filter((one) => one.gap)).toHaveLength(1);
});
test('nothing is missing at the first load, without news, and where an answer overlaps', () => {
  const one = append(EMPTY_LOG, `${line(1, 'a')}\n${line(2, 'b')}\n`);
  const older = append(one, `${line(1, 'a')}\n`);
  const overlapping = append(one, `${line(1, 'a')}\n${line(2, 'b')}\n${line(3, 'c')}\n`);
  expect([one, older, overlapping].flatMap((log) => log.lines.filter((one) => one.gap))).toEqual([]);
  expect(older).toBe(one);
});
test('stamps of different precision are compared as moments', () => {
  const one = append(EMPTY_LOG, '2026-11-27T14:02:01.5Z a');
  expect(texts(append(one, '2026-11-27T14:02:01.500000000Z a\n2026-11-27T14:02:01.51Z b'))).toEqual(['a', 'b']);
});
test('only the newest lines are kept, and how many were dropped is known', () => {
  const many = Array.from(
    { length: KEPT + 10 },
    (_, index) => `2026-11-27T14:02:01.${String(index).padStart(9, '0')}Z ${index}`,
  );
  const log = append(EMPTY_LOG, many.join('\n'));
  expect([log.lines.length, log.dropped, log.lines[0]?.text]).toEqual([KEPT, 10, '10']);
});
test('colours become pieces, other sequences go, and markup stays text', () => {
  expect(pieces('\u001b[1;31mbad\u001b[0m <b>x</b>\u001b[2J')).toEqual([
    { text: 'bad', color: 1, bold: true },
    { text: ' <b>x</b>', color: null, bold: false },
  ]);
  expect(plain('\u001b]0;title\u0007a\u0008b\u202e')).toBe('ab');
});
