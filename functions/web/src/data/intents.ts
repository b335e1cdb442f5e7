/**
 * What was just asked for, on top of what the server said. Pure.
 *
 * An intent never changes the truth, so dropping it is the whole rollback. It shows until a row lands that was asked
 * for after the action was accepted: an earlier answer cannot know of it.
 */
import { GRACE, type Known } from './truth';

export type ActionKind = 'start' | 'stop' | 'delete' | 'restore' | 'save';
export type Intent = {
  readonly kind: ActionKind;
  readonly sentAt: number;
  readonly acceptedAt?: number;
  readonly jobId?: string;
};
export type Refusal = { readonly kind: ActionKind; readonly error: Error; readonly at: number };
export type Intents = {
  readonly live: Readonly<Record<string, Intent>>;
  /** The reason of the last refused action, until the next action. */
  readonly refused: Readonly<Record<string, Refusal>>;
};

export const NO_INTENTS: Intents = { live: {}, refused: {} };

function without<T>(record: Readonly<Record<string, T>>, id: string): Readonly<Record<string, T>> {
  if (!(id in record)) return record;
  const { [id]: _, ...rest } = record;
  return rest;
}

export function begin(intents: Intents, id: string, kind: ActionKind, now: number): Intents {
  return { live: { ...intents.live, [id]: { kind, sentAt: now } }, refused: without(intents.refused, id) };
}

export function accept(intents: Intents, id: string, now: number, jobId?: string): Intents {
  const intent = intents.live[id];
  if (!intent) return intents;
  const accepted = { ...intent, acceptedAt: now, ...(jobId === undefined ? {} : { jobId }) };
  return { ...intents, live: { ...intents.live, [id]: accepted } };
}

export function refuse(intents: Intents, id: string, error: Error, now: number): Intents {
  const kind = intents.live[id]?.kind ?? 'start';
  return { live: without(intents.live, id), refused: { ...intents.refused, [id]: { kind, error, at: now } } };
}

export function dismiss(intents: Intents, id: string): Intents {
  return { ...intents, refused: without(intents.refused, id) };
}

/** The action that is shown for a row, or null when the row speaks for itself. */
export function doing(known: Known<unknown>, intent: Intent | undefined, now: number): ActionKind | null {
  if (!intent) return null;
  if (intent.acceptedAt === undefined) return intent.kind;
  return known.at <= intent.acceptedAt && now - intent.acceptedAt < GRACE ? intent.kind : null;
}

/**
 * Forgets the intents that no row shows any more. One with a job stays as long as its row moves: the row may be followed
 * by it. `moves` says whether the server's row is still on its way.
 */
export function prune<R>(
  intents: Intents,
  rows: Readonly<Record<string, Known<R>>>,
  now: number,
  moves: (row: R) => boolean,
): Intents {
  const live = Object.entries(intents.live).filter(([id, intent]) => {
    const known = rows[id];
    if (intent.acceptedAt === undefined) return true;
    if (known === undefined) return false;
    return doing(known, intent, now) !== null || (intent.jobId !== undefined && moves(known.row));
  });
  return live.length === Object.keys(intents.live).length ? intents : { ...intents, live: Object.fromEntries(live) };
}
