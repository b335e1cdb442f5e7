import { expect, test } from 'vitest';
import { whyStopped } from './stopped';

test.each([
  ['operator', /^An operator/],
  ['drain', /move or update it/],
  ['limit', /exceeded a limit/],
  ['failure', /after a failure/],
] as const)('a stop by %o is explained', (stopReason, title) => {
  expect(whyStopped({ status: 'stopped', stopReason })?.title).toMatch(title);
});

test.each([
  ['owner', 'stopped'],
  ['billing', 'stopped'],
  ['drain', 'running'],
  [null, 'stopped'],
] as const)('a stop by %o of an agent that is %o needs no explanation here', (stopReason, status) => {
  expect(whyStopped({ status, stopReason })).toBeNull();
});
