import { expect, test } from 'vitest';
import type { Agent } from '../api/operations';
import { costNow, possible, shown, silentMinutes } from './shown';

const NOW = Date.parse('2026-11-27T12:00:00Z');
const agent = (change: Partial<Agent> = {}) =>
  ({
    id: 'a',
    agentName: 'ada',
    status: 'running',
    databaseStatus: 'ready',
    lastBackupAt: null,
    lastHeartbeatAt: '2026-11-27T11:59:00Z',
    errorMessage: null,
    createdAt: '2026-11-01T00:00:00Z',
    updatedAt: '2026-11-01T00:00:00Z',
    token_address: null,
    token_chain: null,
    token_name: null,
    token_ticker: null,
    billingStatus: 'active',
    hourlyRate: 0.02,
    totalBilled: 1,
    scheduledShutdownAt: null,
    pendingAction: null,
    dockerImage: null,
    ...change,
  }) as Agent;

test.each([
  [{}, 'Running', 'ok'],
  [{ lastHeartbeatAt: '2026-11-27T11:53:00Z' }, 'Running', 'silent'],
  [{ lastHeartbeatAt: null }, 'Running', 'ok'],
  [{ status: 'pending' }, 'Not started', 'off'],
  [{ status: 'pending', pendingAction: 'provision' }, 'Starting', 'busy'],
  [{ status: 'running', pendingAction: 'delete' }, 'Deleting', 'busy'],
  [{ status: 'stopped' }, 'Stopped', 'off'],
  [{ status: 'stopped', billingStatus: 'suspended' }, 'Suspended', 'warn'],
  [{ status: 'disconnected' }, 'Unreachable', 'unknown'],
  [{ status: 'error' }, 'Failed', 'bad'],
] as const)('%o is shown as %s', (change, word, tone) => {
  expect(shown(agent(change), null, NOW)).toMatchObject({ word, tone });
});

test.each([
  [null, undefined],
  ['owner', undefined],
  ['operator', 'by an operator'],
  ['drain', 'while an operator moves or updates it'],
  ['failure', 'after a failure'],
] as const)('stopped by %o says %o', (stopReason, note) => {
  expect(shown(agent({ status: 'stopped', stopReason }), null, NOW).note).toBe(note);
});

test('what was just asked for is shown before what the server knows', () => {
  expect(shown(agent(), 'stop', NOW).word).toBe('Stopping');
});

test('a new agent without a heartbeat is not silent', () => {
  expect(silentMinutes(agent({ lastHeartbeatAt: null }), NOW)).toBeNull();
});

test('only what runs, and backups of what is stopped or has failed, cost something', () => {
  expect(costNow(agent(), 0.0025)).toBe(0.02);
  expect(costNow(agent({ status: 'disconnected' }), 0.0025)).toBe(0);
  expect(costNow(agent({ status: 'stopped' }), 0.0025)).toBe(0);
  expect(costNow(agent({ status: 'stopped', lastBackupAt: '2026-11-01T00:00:00Z' }), 0.0025)).toBe(0.0025);
  expect(costNow(agent({ status: 'error' }), 0.0025)).toBe(0);
  expect(costNow(agent({ status: 'error', lastBackupAt: '2026-11-01T00:00:00Z' }), 0.0025)).toBe(0.0025);
  expect(costNow(agent({ status: 'error', lastBackupAt: '2026-11-01T00:00:00Z' }), null)).toBeNull();
  expect(costNow(agent({ status: 'pending', lastBackupAt: '2026-11-01T00:00:00Z' }), 0.0025)).toBe(0);
  expect(costNow(agent({ billingStatus: 'exempt' }), 0.0025)).toBe(0);
});

test.each([
  ['pending', { start: true, stop: true, save: false, open: false }],
  ['running', { start: false, stop: true, save: true, open: true }],
  ['disconnected', { start: true, stop: true, save: false, open: false }],
  ['stopped', { start: true, stop: false, save: false, open: false }],
  ['error', { start: true, stop: false, save: false, open: false }],
  ['provisioning', { start: false, stop: false, save: false, open: false }],
] as const)('what is possible next while it is %s', (status, can) => {
  expect(possible(agent({ status }), null)).toEqual({ ...can, delete: true });
});

test('a start that waits for a worker can be stopped, and one that is under way cannot', () => {
  for (const status of ['pending', 'stopped', 'error'] as const) {
    const waiting = agent({ status, pendingAction: 'provision' });
    expect(possible(waiting, null)).toMatchObject({ start: false, stop: true, delete: true });
    expect(possible(waiting, 'stop').stop).toBe(false);
  }
  expect(possible(agent({ status: 'provisioning', pendingAction: 'provision' }), null).stop).toBe(false);
});

test('nothing can be started or stopped while something is going on', () => {
  expect(possible(agent({ pendingAction: 'suspend' }), null)).toMatchObject({ start: false, stop: false, save: false });
  expect(possible(agent(), 'stop')).toMatchObject({ stop: false, open: false });
});
