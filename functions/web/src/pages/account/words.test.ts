import { expect, test } from 'vitest';
import type { Session } from '../../api/operations';
import { accountSentence, permissionRows } from './words';

const session = (change: Partial<Session>): Session => ({
  userId: '5c5fda62-bb9c-4fd8-a7a2-9f3d3d8ad3a5',
  organizationId: '957d3aa7-ea5e-4277-b2d1-4393b3708232',
  organizationName: 'Acme',
  superAdmin: false,
  role: 'owner',
  credential: 'session',
  permissions: ['read', 'agents', 'billing'],
  expiresAt: '2026-11-27T12:00:00.000Z',
  serverTime: '2026-11-27T00:00:00.000Z',
  ...change,
});

test('the sentence says what limits the user most', () => {
  expect(accountSentence(session({}))).toBe('You are signed in to Acme with the rights of an owner.');
  expect(accountSentence(session({ role: 'member', permissions: ['read'] }))).toBe(
    'You are signed in to Acme with the rights of a member. Your key may only read.',
  );
  expect(accountSentence(session({ role: 'viewer', permissions: ['read'] }))).toBe(
    'You are signed in to Acme with the rights of a viewer.',
  );
  expect(accountSentence(session({ organizationName: '' }))).toBe('You are signed in with the rights of an owner.');
});

test('every permission is listed, also those that the key does not have', () => {
  const rows = permissionRows(session({ permissions: ['read', 'admin'] }));
  expect(rows.map(({ permission, granted }) => [permission, granted])).toEqual([
    ['read', true],
    ['agents', false],
    ['billing', false],
    ['admin', true],
  ]);
});
