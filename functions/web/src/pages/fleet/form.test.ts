import { expect, test } from 'vitest';
import type { SchemaNode, SchemaNodeCheck } from '../../api/openapi.gen';
import { checkSentence } from './check';
import { addressOf, changes, formOf, NEW } from './form';

const node = {
  nodeId: 'eu-1',
  hostname: 'eu-1.example.com',
  sshPort: 22,
  sshUser: 'root',
  capacity: 8,
} as SchemaNode;

test('only what differs is sent', () => {
  const form = formOf(node);
  expect(changes(node, form)).toBeNull();
  expect(changes(node, { ...form, capacity: '12' })).toEqual({ capacity: 12 });
  expect(changes(node, { ...form, hostname: ' eu-2.example.com ', sshPort: '2222' })).toEqual({
    hostname: 'eu-2.example.com',
    sshPort: 2222,
  });
});

test('an address is sent with numbers and without spaces', () => {
  expect(addressOf({ ...NEW, hostname: ' eu-1 ' })).toEqual({ hostname: 'eu-1', sshPort: 22, sshUser: 'root' });
});

test('a check says what was found, and what changed', () => {
  const check = (change: Partial<SchemaNodeCheck>) =>
    checkSentence({
      nodeId: 'eu-1',
      newStatus: 'healthy',
      previousStatus: 'healthy',
      checks: {
        ssh: { ok: true, latencyMs: 12 },
        docker: { ok: true, version: '24.0' },
        diskUsage: { ok: true, usedPercent: 40 },
        containers: { running: 5, total: 6 },
      },
      ...change,
    } as SchemaNodeCheck);
  expect(check({})).toBe('eu-1 is healthy: SSH answers in 12 ms, Docker 24.0, disk 40 %, 5 of 6 containers run.');
  expect(
    check({
      newStatus: 'offline',
      checks: { ssh: { ok: false, error: 'The host did not answer in time' }, docker: { ok: false } },
    }),
  ).toBe('eu-1 is offline (was healthy): The host did not answer in time.');
});
