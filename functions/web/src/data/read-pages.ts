/** Lists that the server answers in pages. Pure. */
export type OnePage<R> = { readonly data: readonly R[]; readonly nextCursor?: string | undefined };
export type Pages<R> = { readonly rows: readonly R[]; readonly more: boolean };
export type Ask<R> = (cursor: string | undefined, signal: AbortSignal) => Promise<OnePage<R>>;

/** The first `count` pages of a list, read one after the other: each begins where the one before it ended. */
export async function readPages<R extends { readonly id: string }>(
  ask: Ask<R>,
  count: number,
  signal: AbortSignal,
): Promise<Pages<R>> {
  const rows: R[] = [];
  const seen = new Set<string>();
  let cursor: string | undefined;
  for (let page = 0; page < count; page += 1) {
    const answer = await ask(cursor, signal);
    for (const row of answer.data) {
      if (seen.has(row.id)) continue;
      seen.add(row.id);
      rows.push(row);
    }
    cursor = answer.nextCursor;
    if (cursor === undefined) break;
  }
  return { rows, more: cursor !== undefined };
}
