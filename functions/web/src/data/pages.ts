import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Key } from '../api/keys';
import { client, every } from './client';
import { type Ask, type Pages, readPages } from './read-pages';

/**
 * A list that grows by a page at a time. `key` holds its filters: another filter begins with one page again. `failed`
 * says why the next page could not be read.
 */
export function usePages<R extends { readonly id: string }>(key: Key, ask: Ask<R>, interval = 60_000) {
  const base = JSON.stringify(key);
  const [wanted, setWanted] = useState({ base, count: 1 });
  const count = wanted.base === base ? wanted.count : 1;
  const asked = useQuery(
    {
      queryKey: [...key, count],
      queryFn: ({ signal }) => readPages(ask, count, signal),
      refetchInterval: every(interval),
    },
    client,
  );
  // It asks for nothing. But the cache drops what nobody watches after ten minutes, and these rows are shown as long as
  // the next page cannot be read.
  const before = useQuery<Pages<R>>({ queryKey: [...key, count - 1], enabled: false }, client);
  if (asked.data !== undefined || before.data === undefined)
    return { query: asked, growing: false, failed: null, grow: () => setWanted({ base, count: count + 1 }) };
  // While the next page is on its way, and if it cannot be read, those before it stay.
  const { error, isFetching, fetchStatus, failureCount, failureReason, refetch } = asked;
  const { data, dataUpdatedAt } = before;
  return {
    query: {
      data,
      dataUpdatedAt,
      error,
      isPending: false,
      isFetching,
      fetchStatus,
      failureCount,
      failureReason,
      refetch,
    },
    growing: isFetching,
    failed: error,
    grow: () => void refetch(),
  };
}
