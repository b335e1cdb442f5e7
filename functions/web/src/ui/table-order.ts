import { type RefObject, useEffect, useMemo, useRef, useState } from 'react';

export type Plain = string | number | null;

/** Null comes last, whatever the direction: an unknown value is never the largest or smallest. */
export function compare(a: Plain, b: Plain, descending: boolean): number {
  if (a === null || b === null) return a === b ? 0 : (a === null) === descending ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

const keyCache = new Map<string, string>();

/** A text to sort names by, so that "agent 2" comes before "agent 10" with a plain comparison. */
export function nameKey(name: string): string {
  const known = keyCache.get(name);
  if (known !== undefined) return known;
  const key = name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, '0'));
  if (keyCache.size > 10_000) keyCache.clear();
  keyCache.set(name, key);
  return key;
}

/** The old order with the new rows: what is gone leaves, what is new comes last. */
export function keepOrder<T extends { readonly id: string }>(old: readonly string[], rows: readonly T[]): readonly T[] {
  const byId = new Map(rows.map((row) => [row.id, row]));
  const kept = old.flatMap((id) => byId.get(id) ?? []);
  const known = new Set(old);
  return [...kept, ...rows.filter((row) => !known.has(row.id))];
}

/** Whether the rows that are in both have changed places. */
export function differs(before: readonly string[], after: readonly string[]): boolean {
  const present = new Set(after);
  const old = new Set(before);
  const left = before.filter((id) => present.has(id));
  const right = after.filter((id) => old.has(id));
  return left.some((id, index) => id !== right[index]);
}

const HOLD = 5_000;

/**
 * Rows do not change places under the pointer: people would hit the wrong one. The new order shows when the pointer
 * leaves the table or after five seconds, and at once when the reader chose another order.
 */
export function useHeldOrder<T extends { readonly id: string }>(
  rows: readonly T[],
  area: RefObject<HTMLElement | null>,
  sort: string | undefined,
): readonly T[] {
  const held = useRef<{ order: readonly string[]; sort: string | undefined; since: number | null }>({
    order: [],
    sort,
    since: null,
  });
  const [, renew] = useState(0);
  const last = held.current;
  const order = useMemo(() => rows.map((row) => row.id), [rows]);
  const moved = useMemo(() => differs(last.order, order), [last.order, order]);
  const inside = area.current?.matches(':hover') ?? false;
  const hold = moved && sort === last.sort && inside && (last.since === null || performance.now() - last.since < HOLD);

  useEffect(() => {
    if (!hold) return;
    const element = area.current;
    const release = () => renew((n) => n + 1);
    const timer = setTimeout(release, HOLD);
    element?.addEventListener('pointerleave', release);
    return () => {
      clearTimeout(timer);
      element?.removeEventListener('pointerleave', release);
    };
  }, [hold, area]);

  if (hold) {
    last.since ??= performance.now();
    return keepOrder(last.order, rows);
  }
  held.current = { order, sort, since: null };
  return rows;
}
