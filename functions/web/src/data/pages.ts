import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Key } from '../api/keys';
import { client, every } from './client';
import { type Ask, type Pages, readPages } from './read-pages';

/** A list that grows by a page at a time. `key` holds its filters: another filter begins with one page again. */
export function usePages<R extends { readonly id: string }>(key: Key, ask: Ask<R>, interval = 60_000) {
  const base = JSON.stringify(key);
  const [wanted, setWanted] = useState({ base, count: 1 });
  const count = wanted.base === base ? wanted.count : 1;
  const query = useQuery(
    {
      queryKey: [...key, count],
      queryFn: ({ signal }) => readPages(ask, count, signal),
      refetchInterval: every(interval),
      // While the next page is on its way, those before it stay.
      placeholderData: (before: Pages<R> | undefined, asked) =>
        JSON.stringify(asked?.queryKey.slice(0, -1)) === base ? before : undefined,
    },
    client,
  );
  const growing = query.isPlaceholderData && query.isFetching;
  return { query, growing, grow: () => setWanted({ base, count: count + 1 }) };
}
