/**
 * What the server said, row by row, each with the moment its question was SENT. Pure.
 *
 * Answers arrive late and out of order, so "newest" means asked last, not landed last. Rows are replaced whole: a field
 * that is kept from an older answer is how an error stays on the screen that the server has cleared.
 */
export type Identified = { readonly id: string };
export type Known<R> = {
  readonly row: R;
  readonly at: number;
  /** Created on this page and in no list yet: a list that was computed before it lacks it rightly. */
  readonly unlisted?: number;
};
export type Truth<R> = {
  readonly rows: Readonly<Record<string, Known<R>>>;
  readonly gone: Readonly<Record<string, number>>;
  /** When the newest whole list was asked for. A row that it lacked is not brought back by an older answer. */
  readonly listed: number;
};
/** Returns the old object if nothing in it changed, so that its row does not render again. */
export type Keep<R> = (old: R, fresh: R) => R;

export const NOTHING: Truth<never> = { rows: {}, gone: {}, listed: -1 };

/** How long a created row may be missing in lists, and an accepted action may be invisible. */
export const GRACE = 60_000;

function merged<R>(old: Known<R> | undefined, row: R, at: number, keep: Keep<R>): Known<R> {
  if (!old) return { row, at };
  if (old.at > at) return { row: old.row, at: old.at };
  const kept = keep(old.row, row);
  return kept === old.row && old.at === at && old.unlisted === undefined ? old : { row: kept, at };
}

/** Whether an answer that was asked for at `at` may say that the row exists. */
function believable<R>(truth: Truth<R>, id: string, at: number): boolean {
  return (truth.gone[id] ?? -1) < at && (truth.rows[id] !== undefined || at >= truth.listed);
}

/** Rows of one page of a list that was asked for at `at`. Nothing is concluded from what it lacks. */
export function landPage<R extends Identified>(
  truth: Truth<R>,
  page: readonly R[],
  at: number,
  keep: Keep<R>,
): Truth<R> {
  const rows = { ...truth.rows };
  for (const row of page) {
    if (!believable(truth, row.id, at)) continue;
    const old = rows[row.id];
    const known = merged(old, row, at, keep);
    // A newer list lacked it: being in an older one does not make it listed.
    const lacked = at < truth.listed && old?.unlisted !== undefined;
    rows[row.id] = lacked ? { ...known, unlisted: old.unlisted } : known;
  }
  return { ...truth, rows };
}

/** A whole list, asked for at `at` and landed at `now`: what it lacks is gone, unless we know better. */
export function landList<R extends Identified>(
  truth: Truth<R>,
  list: readonly R[],
  at: number,
  now: number,
  keep: Keep<R>,
): Truth<R> {
  if (at < truth.listed) return landPage(truth, list, at, keep);
  const rows: Record<string, Known<R>> = {};
  const lost: Record<string, number> = {};
  for (const row of list) {
    if (believable(truth, row.id, at)) rows[row.id] = merged(truth.rows[row.id], row, at, keep);
  }
  for (const [id, old] of Object.entries(truth.rows)) {
    if (rows[id] || truth.gone[id] !== undefined) continue;
    const young = old.unlisted !== undefined && now - old.unlisted < GRACE;
    if (old.at > at || young) rows[id] = old;
    else lost[id] = at;
  }
  const recent = Object.entries({ ...truth.gone, ...lost }).filter(([, when]) => now - when < GRACE);
  const gone = Object.fromEntries(recent);
  return { rows, gone, listed: at };
}

/** One row: the answer to a question about it, or, with `created`, of the request that made it. */
export function landOne<R extends Identified>(
  truth: Truth<R>,
  row: R,
  at: number,
  keep: Keep<R>,
  created?: number,
): Truth<R> {
  const old = truth.rows[row.id];
  if ((old && old.at > at) || (truth.gone[row.id] ?? -1) >= at) return truth;
  if (created === undefined && !believable(truth, row.id, at)) return truth;
  const unlisted = created ?? old?.unlisted;
  const known = { row: old ? keep(old.row, row) : row, at, ...(unlisted === undefined ? {} : { unlisted }) };
  return { ...truth, rows: { ...truth.rows, [row.id]: known } };
}

/** The server said that it is gone: the answer to a deletion, or a 404. */
export function landGone<R extends Identified>(truth: Truth<R>, id: string, at: number): Truth<R> {
  const { [id]: _, ...rows } = truth.rows;
  return { ...truth, rows, gone: { ...truth.gone, [id]: at } };
}
