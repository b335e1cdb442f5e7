import { expect, test } from 'vitest';
import * as operations from '../api/callers.gen';
import { denial, type GuardedAction, type Rights, whyNot } from './access';

const rights = (change: Partial<Rights>): Rights => ({
  role: 'owner',
  permissions: ['read', 'agents', 'billing'],
  superAdmin: false,
  ...change,
});

const OWNER = rights({});
const MEMBER = rights({ role: 'member' });
const VIEWER = rights({ role: 'viewer' });
const READING = rights({ permissions: ['read', 'billing'] });
const READING_MEMBER = rights({ role: 'member', permissions: ['read'] });

const ONLY_READS = 'This key may only read';

test.each<[GuardedAction, owner: string | null, member: string | null, viewer: string]>([
  ['create', null, null, 'Viewers may not create agents'],
  ['start', null, null, 'Viewers may not start agents'],
  ['stop', null, null, 'Viewers may not stop agents'],
  ['save', null, null, 'Viewers may not save the state of agents'],
  ['restore', null, null, 'Viewers may not restore agents'],
  ['download', null, null, 'Viewers may not download backups'],
  ['delete', null, 'Only owners and admins may delete agents', 'Viewers may not delete agents'],
  ['open', null, null, 'Viewers may not open agents'],
  ['ask', null, null, 'Viewers may not ask agents'],
  ['talk', null, null, 'Viewers may not talk to agents'],
])('who may %s', (action, owner, member, viewer) => {
  expect(whyNot(OWNER, action)).toBe(owner);
  expect(whyNot(MEMBER, action)).toBe(member);
  expect(whyNot(VIEWER, action)).toBe(viewer);
  // Role and key must both allow it, and the role is named first.
  expect(whyNot(READING, action)).toBe(ONLY_READS);
  expect(whyNot(READING_MEMBER, action)).toBe(member ?? ONLY_READS);
  expect(whyNot({ ...VIEWER, permissions: ['read'] }, action)).toBe(viewer);
});

test('the settings take the role of an owner, and a key that names the permission billing', () => {
  expect(whyNot(OWNER, 'configure')).toBeNull();
  expect(whyNot(READING, 'configure')).toBeNull();
  const onlyOwners = 'Only owners and admins may change the settings';
  expect(whyNot(MEMBER, 'configure')).toBe(onlyOwners);
  expect(whyNot(VIEWER, 'configure')).toBe(onlyOwners);
  expect(whyNot(rights({ permissions: ['read', 'agents'] }), 'configure')).toBe('This key may not change the settings');
});

test('each kind of caller has its rule, whatever the operation is called', () => {
  const may = (user: Rights) => (caller: Parameters<typeof denial>[1]) => denial(user, caller, 'do this') === null;
  const all = ['reader', 'agentManager', 'agentOwner', 'superAdmin', 'browser', 'scheduler', 'anybody'] as const;
  expect(all.filter(may(OWNER))).toEqual(['reader', 'agentManager', 'agentOwner', 'browser', 'anybody']);
  expect(all.filter(may(MEMBER))).toEqual(['reader', 'agentManager', 'browser', 'anybody']);
  expect(all.filter(may(VIEWER))).toEqual(['reader', 'browser', 'anybody']);
  expect(all.filter(may(READING))).toEqual(['reader', 'browser', 'anybody']);
  // An operator's rights in their own organization are those of their role.
  expect(all.filter(may({ ...VIEWER, superAdmin: true }))).toEqual(['reader', 'superAdmin', 'browser', 'anybody']);
});

test('the operations of operators are for operators, and those of everybody are for readers', () => {
  const demands = (caller: string) =>
    Object.entries(operations)
      .filter(([, demanded]) => demanded === caller)
      .map(([name]) => name);
  expect(demands('superAdmin')).toEqual(
    expect.arrayContaining(['agentBilling', 'creditGrant', 'containerAction', 'limitUpdate', 'nodeRegister']),
  );
  expect(demands('reader')).toEqual(expect.arrayContaining(['agentList', 'creditGet', 'limitList', 'sessionGet']));
  expect(demands('agentOwner')).toEqual(['agentDelete']);
});
