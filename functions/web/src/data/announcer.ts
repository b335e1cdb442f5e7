/**
 * Tells what happened to agents, whoever caused it: it compares what the server said before with what it says now.
 * Pure. It lives outside of components, so a page that opens or closes repeats or loses nothing.
 */
import type { SchemaAgentStatus, SchemaJobVerb } from '../api/openapi.gen';
import type { Truth } from './truth';

type Row = {
  readonly id: string;
  readonly agentName: string | null;
  readonly status: SchemaAgentStatus;
  readonly pendingAction: SchemaJobVerb | null;
  readonly errorMessage: string | null;
};
type Seen = { readonly at: number; readonly status: SchemaAgentStatus; readonly action: SchemaJobVerb | null };
export type Heard = {
  readonly seen: Readonly<Record<string, Seen>>;
  /** Agents whose next change was told by the answer to the action itself. */
  readonly told: Readonly<Record<string, number>>;
};
export type News = { readonly id: string; readonly tone: 'ok' | 'warn' | 'bad' | 'off'; readonly text: string };

export const SILENCE: Heard = { seen: {}, told: {} };

export const moving = (row: Pick<Row, 'status' | 'pendingAction'>): boolean =>
  row.pendingAction !== null || row.status === 'provisioning';

export const nameOf = (row: { readonly agentName: string | null; readonly id: string }): string =>
  row.agentName?.trim() || `agent ${row.id.slice(0, 8)}`;

function news(row: Row, before: Seen): News | null {
  const id = row.id;
  const name = nameOf(row);
  const settled = (before.action !== null || before.status === 'provisioning') && !moving(row);
  if (!settled && before.status === row.status) return null;
  switch (row.status) {
    case 'running':
      if (before.action === 'restore') return { id, tone: 'ok', text: `${name} runs with the restored state.` };
      return before.status === 'running' && before.action === null
        ? null
        : { id, tone: 'ok', text: `${name} is running.` };
    case 'stopped':
      return { id, tone: 'off', text: `${name} is stopped.` };
    case 'error':
      return { id, tone: 'bad', text: `${name} failed. ${row.errorMessage ?? 'The server gave no reason.'}` };
    case 'disconnected':
      return { id, tone: 'warn', text: `The host of ${name} does not answer. You are not charged meanwhile.` };
    case 'pending':
    case 'provisioning':
    case 'unknown':
      return null;
    default:
      return row.status satisfies never;
  }
}

/** The next state, and what is to be told. Nothing is told about rows that are seen for the first time. */
export function listen<R extends Row>(heard: Heard, truth: Truth<R>): { heard: Heard; news: readonly News[] } {
  const seen: Record<string, Seen> = {};
  const told = { ...heard.told };
  const all: News[] = [];
  for (const { row, at } of Object.values(truth.rows)) {
    const before = heard.seen[row.id];
    if (before && before.at >= at) {
      seen[row.id] = before;
      continue;
    }
    seen[row.id] = { at, status: row.status, action: row.pendingAction };
    const quiet = told[row.id];
    if (quiet !== undefined) {
      if (at > quiet) delete told[row.id];
      continue;
    }
    const one = before ? news(row, before) : null;
    if (one) all.push(one);
  }
  return { heard: { seen, told }, news: all };
}

export function alreadyTold(heard: Heard, id: string, at: number): Heard {
  return { ...heard, told: { ...heard.told, [id]: at } };
}
