import { expect, test } from 'vitest';
import type { ImageRollOut } from '../../api/operations';
import {
  type LastRollOut,
  rollOutActions,
  rollOutProgress,
  rollOutState,
  shortDigest,
  unchangedWord,
} from './roll-out-words';

const DIGEST = `sha256:${'2'.repeat(64)}`;
const last = (change: Partial<LastRollOut>) =>
  ({
    state: 'running',
    pauseReason: null,
    doneAt: null,
    restarted: 1,
    underWay: 0,
    waiting: 0,
    failed: 0,
    skipped: 0,
    ...change,
  }) as LastRollOut;
const plan = (change: Partial<ImageRollOut>) =>
  ({ digest: DIGEST, outdated: 2, rollOut: null, ...change }) as ImageRollOut;

test('a version is named by its first digits', () => {
  expect(shortDigest(DIGEST)).toBe('222222222222');
});

test('the progress names what there is', () => {
  expect(rollOutProgress(last({}))).toBe('1 agent runs the new version');
  expect(rollOutProgress(last({ restarted: 12, underWay: 3, waiting: 4, failed: 2, skipped: 1 }))).toBe(
    '12 agents run the new version, 3 under way, 4 to go, 2 failed, 1 left as they were',
  );
});

test('a pause that no operator asked for says why', () => {
  expect(rollOutState(last({ state: 'paused' }))).toEqual({ tone: 'off', word: 'Paused' });
  expect(rollOutState(last({ state: 'paused', pauseReason: 'too many' })).word).toContain('too many');
  expect(rollOutState(last({ state: null })).tone).toBe('unknown');
});

test('what can be done depends on the state', () => {
  expect(rollOutActions(plan({}))).toEqual(['start']);
  expect(rollOutActions(plan({ outdated: 0 }))).toEqual([]);
  expect(rollOutActions(plan({ digest: null }))).toEqual([]);
  expect(rollOutActions(plan({ rollOut: last({}) }))).toEqual(['pause', 'cancel']);
  expect(rollOutActions(plan({ rollOut: last({ state: 'paused' }) }))).toEqual(['resume', 'cancel']);
  const done = last({ state: 'done', doneAt: '2026-11-27T14:00:00.000Z' });
  expect(rollOutActions(plan({ rollOut: done }))).toEqual(['start']);
});

test('an agent that failed is put back', () => {
  expect(unchangedWord({ outcome: 'failed', underWay: true }).tone).toBe('busy');
  expect(unchangedWord({ outcome: 'failed', underWay: false }).word).toContain('previous version');
  expect(unchangedWord({ outcome: 'skipped', underWay: false }).tone).toBe('off');
});
