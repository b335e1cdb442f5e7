import { queryOptions, replaceEqualDeep, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api, unwrap } from '../api/client';
import { ApiError } from '../api/errors';
import { keys } from '../api/keys';
import { type Agent, type AgentDetail, getAgentPage } from '../api/operations';
import { alreadyTold, listen, moving, SILENCE } from './announcer';
import { client } from './client';
import { type ActionKind, doing, type Intent, type Intents, NO_INTENTS, prune, type Refusal } from './intents';
import { sessionStore, signedIn } from './session';
import { createStore, useStore } from './store';
import { toast } from './toasts';
import { landGone, landList, landOne, landPage, NOTHING, type Truth } from './truth';

type State = { readonly truth: Truth<Agent>; readonly intents: Intents; readonly listed: boolean };
const EMPTY: State = { truth: NOTHING, intents: NO_INTENTS, listed: false };

const store = createStore<State>(EMPTY);
let heard = SILENCE;

const keep = (old: Agent, fresh: Agent): Agent => replaceEqualDeep(old, fresh);
const now = () => performance.now();

function land(change: (truth: Truth<Agent>) => Truth<Agent>, listed?: true) {
  store.set((state) => {
    const truth = change(state.truth);
    return { truth, intents: prune(state.intents, truth.rows, now(), moving), listed: listed ?? state.listed };
  });
  const next = listen(heard, store.get().truth);
  heard = next.heard;
  if (next.news.length > 3) {
    toast({ tone: 'warn', text: `${next.news.length} agents changed.`, link: { to: '/agents', label: 'Show agents' } });
    return;
  }
  for (const { id, tone, text } of next.news) toast({ tone, text, link: { to: `/agents/${id}`, label: 'Show' } });
}

export const landed = {
  one: (agent: Agent, at: number) => land((truth) => landOne(truth, summary(agent), at, keep)),
  created: (agent: Agent, at: number) => land((truth) => landOne(truth, agent, at, keep, now())),
  gone: (id: string, at: number) => land((truth) => landGone(truth, id, at)),
  told: (id: string, at: number) => {
    heard = alreadyTold(heard, id, at);
  },
};
export const changeIntents = (change: (intents: Intents) => Intents): void =>
  store.set((state) => ({ ...state, intents: change(state.intents) }));

sessionStore.subscribe(() => {
  if (sessionStore.get().state !== 'out') return;
  heard = SILENCE;
  whole = null;
  store.set(() => EMPTY);
});

/** Without the fields that only the detail has: else each answer would look like a change of the row. */
function summary(agent: Agent & Partial<AgentDetail>): Agent {
  const {
    bridgeUrl: _b,
    healthUrl: _h,
    errorCount: _e,
    lastDeath: _d,
    backupError: _f,
    stopNote: _s,
    nodeId: _n,
    environmentNames: _v,
    ...rest
  } = agent;
  return rest;
}

/** The last whole list: how many agents it had, when it was asked for, and the server's time of it. */
let whole: { readonly count: number; readonly at: number; readonly asOf: string | undefined } | null = null;

async function everyPage(signal: AbortSignal): Promise<number> {
  const at = now();
  const all: Agent[] = [];
  let cursor: string | undefined;
  let asOf: string | undefined;
  do {
    const page = await getAgentPage({ limit: 200, ...(cursor === undefined ? {} : { cursor }) }, signal);
    all.push(...page.data);
    cursor = page.nextCursor;
    asOf ??= page.asOf;
    if (cursor !== undefined && !store.get().listed) land((truth) => landPage(truth, page.data, at, keep));
  } while (cursor !== undefined);
  land((truth) => landList(truth, all, at, now(), keep), true);
  whole = { count: all.length, at, asOf };
  return all.length;
}

/** What one request returns. More agents than that are followed by their changes, and listed once a minute. */
const ONE_PAGE = 200;
const WHOLE_EVERY = 55_000;

async function newest(signal: AbortSignal): Promise<number> {
  if (!whole?.asOf || whole.count <= ONE_PAGE || now() - whole.at > WHOLE_EVERY) return everyPage(signal);
  const at = now();
  const page = await getAgentPage({ limit: 200, changedSince: whole.asOf }, signal);
  // Something was deleted or created, or more has changed than fits.
  if (page.total !== whole.count || page.nextCursor !== undefined) return everyPage(signal);
  land((truth) => landPage(truth, page.data, at, keep));
  whole = { ...whole, asOf: page.asOf ?? whole.asOf };
  return whole.count;
}

function anyMoving(): boolean {
  const { truth, intents } = store.get();
  return Object.keys(intents.live).length > 0 || Object.values(truth.rows).some((known) => moving(known.row));
}

const listOptions = queryOptions({
  queryKey: keys.agents,
  queryFn: ({ signal }) => newest(signal),
  refetchInterval: (query) => {
    if (!signedIn() || query.state.status === 'error') return false;
    const following = (query.state.data ?? 0) <= ONE_PAGE || whole?.asOf !== undefined;
    return anyMoving() && following ? 10_000 : 60_000;
  },
});

export const agentOptions = (id: string) =>
  queryOptions({
    queryKey: keys.agent(id),
    queryFn: async ({ signal }): Promise<AgentDetail> => {
      const at = now();
      try {
        const { data } = await unwrap(
          api.GET('/api/v1/milady/agents/{agentId}', { params: { path: { agentId: id } }, signal }),
        );
        landed.one(data, at);
        return data;
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) landed.gone(id, at);
        throw error;
      }
    },
    refetchInterval: (query) => {
      if (!signedIn() || query.state.status === 'error') return false;
      const known = store.get().truth.rows[id];
      return store.get().intents.live[id] || (known && moving(known.row)) ? 5_000 : 60_000;
    },
  });

/** One agent as it is shown: the server's row and, on top of it, what was just asked for. */
export type AgentView = {
  readonly id: string;
  readonly row: Agent;
  readonly doing: ActionKind | null;
  readonly since: number | null;
  readonly jobId: string | null;
  readonly refusal: Refusal | null;
};

const views = new WeakMap<Agent, AgentView>();

function view(row: Agent, at: number, intent: Intent | undefined, refusal: Refusal | undefined): AgentView {
  const act = doing({ row, at }, intent, now());
  const known = views.get(row);
  const jobId = row.pendingJobId ?? intent?.jobId ?? null;
  const since = act === null ? null : (intent?.sentAt ?? null);
  if (known?.doing === act && known.refusal === (refusal ?? null) && known.jobId === jobId && known.since === since)
    return known;
  const fresh = { id: row.id, row, doing: act, since, jobId, refusal: refusal ?? null };
  views.set(row, fresh);
  return fresh;
}

export function useAgents() {
  const query = useQuery(listOptions, client);
  const state = useStore(store, (all) => all);
  const agents = useMemo(
    () =>
      Object.values(state.truth.rows).map((known) =>
        view(known.row, known.at, state.intents.live[known.row.id], state.intents.refused[known.row.id]),
      ),
    [state],
  );
  return { query, agents, listed: state.listed };
}

/** The newest that is known of one agent, wherever it was learned. */
export function useAgentView(id: string): AgentView | null {
  return useStore(store, ({ truth, intents }) => {
    const known = truth.rows[id];
    return known ? view(known.row, known.at, intents.live[id], intents.refused[id]) : null;
  });
}

export const agentRows = (): readonly Agent[] => Object.values(store.get().truth.rows).map((known) => known.row);
