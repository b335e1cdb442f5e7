import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query';
import { ApiError, isFinal } from '../api/errors';
import type { Key } from '../api/keys';
import { refresh } from './refresh';
import { confirmSession, sessionChanged, sessionStore, signedIn } from './session';
import { onTold, tell } from './tabs';

declare module '@tanstack/react-query' {
  interface Register {
    /** `tells`: what only other tabs ask for again. */
    mutationMeta: { touches?: readonly Key[]; tells?: readonly Key[] };
  }
}

/** Five tries in a row, then it is an error that a person can read. */
const TRIES = 5;

/** The session may be over, or what its user may do may have changed. */
function settled(error: unknown) {
  if (error instanceof ApiError && [401, 403].includes(error.status)) void confirmSession();
}

export const client = new QueryClient({
  queryCache: new QueryCache({ onError: settled }),
  mutationCache: new MutationCache({
    onError: settled,
    onSettled: (_data, error, _variables, _context, mutation) => {
      const touched = mutation.meta?.touches;
      if (!touched) return;
      refresh(client, touched);
      if (!error) tell({ kind: 'touched', keys: [...touched, ...(mutation.meta?.tells ?? [])] });
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      gcTime: 10 * 60_000,
      retry: (failures, error) => !isFinal(error) && failures < TRIES - 1,
      retryDelay: (failures, error) =>
        (error instanceof ApiError ? error.retryAfterMs : null) ?? Math.min(1000 * 2 ** failures, 10_000),
      refetchOnWindowFocus: (query) => signedIn() && !isFinal(query.state.error),
    },
    mutations: { retry: false, gcTime: 0, networkMode: 'always' },
  },
});

onTold((message) => {
  if (message.kind === 'session') sessionChanged();
  else if (signedIn()) refresh(client, message.keys);
});

/** An interval that stops with the session, and after five failures. For `refetchInterval`. */
export function every(ms: number) {
  return (query: { state: { status: string } }): number | false =>
    signedIn() && query.state.status !== 'error' ? ms : false;
}

let before = sessionStore.get().state;
sessionStore.subscribe(() => {
  const { state } = sessionStore.get();
  if (state === 'over') void client.cancelQueries();
  if (state === 'out') client.clear();
  // The same user goes on. What was asked for meanwhile has failed for good: no interval asks for it again.
  if (state === 'in' && before === 'over') void client.invalidateQueries();
  before = state;
});
