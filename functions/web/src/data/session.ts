import type { QueryClient } from '@tanstack/react-query';
import { api, unwrap } from '../api/client';
import { ApiError } from '../api/errors';
import { getSession, type Session } from '../api/operations';
import { type GuardedAction, whyNot } from './access';
import { createStore, useStore } from './store';
import { tell } from './tabs';

/** `over` keeps the page and who used it, so that the same user goes on where they were. */
export type SessionState =
  | { readonly state: 'unknown'; readonly error: Error | null }
  | { readonly state: 'out' }
  | { readonly state: 'in'; readonly user: Session }
  | { readonly state: 'over'; readonly user: Session };

export const sessionStore = createStore<SessionState>({ state: 'unknown', error: null });

export const signedIn = (): boolean => sessionStore.get().state === 'in';
export const useSession = (): SessionState => useStore(sessionStore, (session) => session);
export const useUser = (): Session | null =>
  useStore(sessionStore, (session) => (session.state === 'in' || session.state === 'over' ? session.user : null));

/** Why the user may not do this; null if they may. */
export const whyUserMayNot = (action: GuardedAction): string | null => {
  const session = sessionStore.get();
  return 'user' in session ? whyNot(session.user, action) : null;
};
export const useWhyNot = (action: GuardedAction): string | null => useStore(sessionStore, () => whyUserMayNot(action));

/** For the types only: browsers set this header themselves and ignore ours. */
const ORIGIN = { header: { Origin: globalThis.location?.origin ?? '' } };

let asking: Promise<void> | null = null;

/** Asks who is signed in. A 401 of any other operation means nothing before this one confirms it. */
export function confirmSession(): Promise<void> {
  asking ??= getSession()
    .then(
      (user) => sessionStore.set(() => ({ state: 'in', user })),
      (error: unknown) => {
        const none = error instanceof ApiError && error.status === 401;
        sessionStore.set((old) => {
          if (none)
            return old.state === 'in' || old.state === 'over' ? { state: 'over', user: old.user } : { state: 'out' };
          return old.state === 'unknown' ? { state: 'unknown', error: error as Error } : old;
        });
      },
    )
    .finally(() => {
      asking = null;
    });
  return asking;
}

/** The key is sent and forgotten: it is in no state, cache or storage. */
export async function signIn(client: QueryClient, apiKey: string): Promise<void> {
  const before = sessionStore.get();
  await unwrap(api.POST('/api/v1/session', { params: ORIGIN, body: { apiKey } }));
  let user: Session;
  try {
    user = await getSession();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401)
      throw new ApiError({ kind: 'http', status: 401, message: NO_COOKIE });
    throw error;
  }
  const same = before.state === 'over' && before.user.userId === user.userId;
  if (!same) {
    // Everything that was known belongs to somebody else.
    sessionStore.set(() => ({ state: 'out' }));
    client.clear();
  }
  sessionStore.set(() => ({ state: 'in', user }));
  if (same) void client.invalidateQueries();
  tell({ kind: 'session' });
}

const NO_COOKIE =
  'The key is valid, but this browser did not keep the session. It keeps secure cookies only over https and on this machine.';

export async function signOut(client: QueryClient): Promise<void> {
  await unwrap(api.DELETE('/api/v1/session', { params: ORIGIN }));
  sessionStore.set(() => ({ state: 'out' }));
  client.clear();
  tell({ kind: 'session' });
}
