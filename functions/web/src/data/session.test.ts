import { beforeEach, expect, test } from 'vitest';
import type { Session } from '../api/operations';
import { client } from './client';
import { enter, type SessionState, sessionStore } from './session';
import { toast, toastStore } from './toasts';

const ada = { userId: 'ada', organizationId: 'x', role: 'owner' } as Session;
const KEY = ['settings'];

/** The states that those see who listen. */
function during(action: () => void): SessionState['state'][] {
  const states: SessionState['state'][] = [];
  const stop = sessionStore.subscribe(() => states.push(sessionStore.get().state));
  action();
  stop();
  return states;
}

beforeEach(() => {
  sessionStore.set(() => ({ state: 'out' }));
  enter(ada);
  client.setQueryData(KEY, 'of ada');
  toast({ tone: 'ok', text: 'of ada' });
});

test.each([[{ ...ada, userId: 'bert' }], [{ ...ada, organizationId: 'y' }]])(
  'of another user or organization nothing is kept, whether the session was over or not',
  (other) => {
    expect(during(() => enter(other))).toEqual(['out', 'in']);
    expect(client.getQueryData(KEY)).toBeUndefined();
    expect(toastStore.get()).toEqual([]);
    client.setQueryData(KEY, 'of the other');
    sessionStore.set(() => ({ state: 'over', user: other }));
    expect(during(() => enter(ada))).toEqual(['out', 'in']);
    expect(client.getQueryData(KEY)).toBeUndefined();
  },
);

test('the same user goes on after the session was over, and everything is asked for again', () => {
  sessionStore.set(() => ({ state: 'over', user: ada }));
  expect(during(() => enter({ ...ada, role: 'viewer' }))).toEqual(['in']);
  expect(client.getQueryData(KEY)).toBe('of ada');
  expect(client.getQueryState(KEY)?.isInvalidated).toBe(true);
});

test('a session that is merely confirmed changes nothing', () => {
  expect(during(() => enter(ada))).toEqual(['in']);
  expect(client.getQueryState(KEY)?.isInvalidated).toBe(false);
});
