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

/** What is on the screen and held in memory is of one user and one organization. */
export const identityOf = ({ userId, organizationId }: Session): string => `${userId} ${organizationId}`;

/**
 * The only way in: by the form here, or by another tab. Whoever listens to `out` forgets all that it holds, so nothing
 * of somebody else is left.
 */
export function enter(user: Session): void {
  const before = sessionStore.get();
  if ('user' in before && identityOf(before.user) !== identityOf(user)) sessionStore.set(() => ({ state: 'out' }));
  sessionStore.set(() => ({ state: 'in', user }));
}

let asking: Promise<void> | null = null;

/** Asks who is signed in. A 401 of any other operation means nothing before this one confirms it. */
export function confirmSession(): Promise<void> {
  asking ??= getSession()
    .then(enter, (error: unknown) => {
      const none = error instanceof ApiError && error.status === 401;
      sessionStore.set((old) => {
        if (none)
          return old.state === 'in' || old.state === 'over' ? { state: 'over', user: old.user } : { state: 'out' };
        return old.state === 'unknown' ? { state: 'unknown', error: error as Error } : old;
      });
    })
    .finally(() => {
      asking = null;
    });
  return asking;
}

/** Another tab signed in or out. An answer that is on its way may be older than that, so it is asked again. */
export const sessionChanged = (): void => void Promise.resolve(asking).then(confirmSession);

/** The key is sent and forgotten: it is in no state, cache or storage. */
export async function signIn(apiKey: string): Promise<void> {
  await unwrap(api.POST('/api/v1/session', { params: ORIGIN, body: { apiKey } }));
  let user: Session;
  try {
    user = await getSession();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401)
      throw new ApiError({ kind: 'http', status: 401, message: NO_COOKIE });
    throw error;
  }
  enter(user);
  tell({ kind: 'session' });
}

const NO_COOKIE =
  'The key is valid, but this browser did not keep the session. It keeps secure cookies only over https and on this machine.';

export async function signOut(): Promise<void> {
  await unwrap(api.DELETE('/api/v1/session', { params: ORIGIN }));
  sessionStore.set(() => ({ state: 'out' }));
  tell({ kind: 'session' });
}
