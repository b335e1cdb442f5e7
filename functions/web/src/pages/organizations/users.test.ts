import { expect, test } from 'vitest';
import type { OrganizationUser } from '../../api/operations';
import { choices, userName, userNote, usersSentence } from './users';

const user = (change: Partial<OrganizationUser> = {}): OrganizationUser => ({
  id: '11111111-2222-4333-8444-555555555555',
  name: 'Ada',
  email: 'a***@a***.example',
  role: 'owner',
  superAdmin: false,
  active: true,
  createdAt: '2026-11-01T00:00:00.000Z',
  apiKeys: [],
  ...change,
});

const withKey = user({
  apiKeys: [
    {
      id: 'k',
      name: 'laptop',
      prefix: 'eliza_abcdef',
      permissions: ['read'],
      expiresAt: null,
      lastUsedAt: null,
      createdAt: '2026-11-01T00:00:00.000Z',
    },
  ],
});

test('a user goes by the name, else by the address, else by the identifier', () => {
  expect(userName(user())).toBe('Ada');
  expect(userName(user({ name: ' ' }))).toBe('a***@a***.example');
  expect(userName(user({ name: null, email: null }))).toBe('user 11111111');
});

test('the note says role and address, and what is out of the ordinary', () => {
  expect(userNote(user())).toBe('owner, a***@a***.example');
  expect(userNote(user({ name: null, role: 'viewer', active: false }))).toBe('viewer, not active');
  expect(userNote(user({ email: null, superAdmin: true }))).toBe('owner, operator of this cloud');
});

test('only the key of a super admin can permit admin', () => {
  expect(choices({ superAdmin: false })).toEqual(['agents', 'billing']);
  expect(choices({ superAdmin: true })).toEqual(['agents', 'billing', 'admin']);
});

test('the sentence says whether somebody can sign in', () => {
  expect(usersSentence([], false)).toBe('Nobody belongs to this organization.');
  expect(usersSentence([user()], false)).toBe('1 user, without an API key: nobody can sign in with one.');
  expect(usersSentence([user(), withKey], true)).toBe('The newest 2 users with 1 API key.');
});
