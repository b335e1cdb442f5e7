import { expect, test } from 'vitest';
import { figureLines } from './figures';

const MB = 1024 ** 2;
const nothing = {
  memoryLimitBytes: null,
  memoryBytes: [null],
  cpuMillis: [null],
  receivedBytesPerSecond: [null],
  sentBytesPerSecond: [null],
  readBytesPerSecond: [null],
  writtenBytesPerSecond: [null],
};

test('the last figures are in words, and the picture is in a sentence', () => {
  const lines = figureLines({
    ...nothing,
    memoryLimitBytes: 2048 * MB,
    memoryBytes: [100 * MB, null, 300 * MB],
    cpuMillis: [null, 40, 1500],
    receivedBytesPerSecond: [null, 0, 2048],
    sentBytesPerSecond: [null, 512, 512],
    readBytesPerSecond: [null, null, null],
    writtenBytesPerSecond: [null, 4096, 1024],
  });
  expect(lines.map(({ name, now, note, max }) => [name, now, note, max])).toEqual([
    ['Processor', '1.50 CPUs', null, 1500],
    ['Memory', '300.0 MB', 'of 2.0 GB', 2048 * MB],
    ['Network', '2 KB/s in, 512 B/s out', null, 2048],
    ['Disk', '1 KB/s written', null, 4096],
  ]);
  expect(lines.map(({ sentence }) => sentence)).toEqual([
    'Processor in the last 24 hours: 0.04 CPUs to 1.50 CPUs',
    'Memory in the last 24 hours: 100.0 MB to 300.0 MB',
    'Network in the last 24 hours: in 0 B/s to 2 KB/s, out 512 B/s',
    'Disk in the last 24 hours: read not known, written 1 KB/s to 4 KB/s',
  ]);
});

test('what is not known is not shown as zero, and little use does not fill the picture', () => {
  const unknown = figureLines(nothing);
  expect(unknown.map(({ now }) => now)).toEqual(['not known', 'not known', 'not known', 'not known']);
  expect(unknown.map(({ note }) => note)).toEqual([null, null, null, null]);
  const [processor, memory] = figureLines({ ...nothing, cpuMillis: [2], memoryBytes: [5] });
  expect([processor?.max, processor?.now]).toEqual([100, '0.00 CPUs']);
  expect([memory?.max, memory?.now]).toEqual([5, '5 B']);
});
