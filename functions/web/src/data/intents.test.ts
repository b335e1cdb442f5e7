import { expect, test } from 'vitest';
import { accept, begin, dismiss, doing, NO_INTENTS, prune, refuse } from './intents';
import { GRACE } from './truth';

const known = (at: number) => ({ row: {}, at });

test('an intent shows until a row lands that was asked for after its acceptance', () => {
  let intents = begin(NO_INTENTS, 'a', 'stop', 5);
  expect(doing(known(6), intents.live.a, 7)).toBe('stop');
  intents = accept(intents, 'a', 20, 'job-1');
  expect(doing(known(19), intents.live.a, 21)).toBe('stop');
  expect(intents.live.a?.jobId).toBe('job-1');
  expect(doing(known(21), intents.live.a, 22)).toBeNull();
});

test('an accepted intent does not show for ever when no row lands', () => {
  const intents = accept(begin(NO_INTENTS, 'a', 'stop', 0), 'a', 10);
  expect(doing(known(0), intents.live.a, 10 + GRACE)).toBeNull();
});

test('a refusal takes the intent back at once and keeps the reason until the next action', () => {
  const error = new Error('Agent provisioning is in progress');
  let intents = refuse(begin(NO_INTENTS, 'a', 'delete', 0), 'a', error, 5);
  expect(intents.live.a).toBeUndefined();
  expect(intents.refused.a).toEqual({ kind: 'delete', error, at: 5 });
  intents = begin(intents, 'a', 'stop', 10);
  expect(intents.refused.a).toBeUndefined();
});

test('a refusal can be dismissed', () => {
  const intents = refuse(begin(NO_INTENTS, 'a', 'stop', 0), 'a', new Error('no'), 1);
  expect(dismiss(intents, 'a').refused).toEqual({});
});

const still = () => false;

test('an intent that no row shows is forgotten, one that was not answered yet is not', () => {
  const accepted = accept(begin(begin(NO_INTENTS, 'a', 'stop', 0), 'b', 'start', 0), 'a', 10);
  expect(Object.keys(prune(accepted, { a: known(11), b: known(11) }, 12, still).live)).toEqual(['b']);
  expect(prune(accepted, { a: known(5), b: known(5) }, 12, still)).toBe(accepted);
});

test('an intent with a job stays while its row moves, so that the job can be followed', () => {
  const accepted = accept(begin(NO_INTENTS, 'a', 'start', 0), 'a', 10, 'job-1');
  expect(prune(accepted, { a: known(11) }, 12, () => true).live.a?.jobId).toBe('job-1');
  expect(doing(known(11), accepted.live.a, 12)).toBeNull();
  expect(prune(accepted, { a: known(11) }, 12, still).live).toEqual({});
});
