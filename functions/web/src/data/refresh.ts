import type { QueryClient } from '@tanstack/react-query';
import type { Key } from '../api/keys';

let waiting = new Map<string, Key>();

/** The only way to ask again after an event. Several events of one moment ask once. */
export function refresh(client: QueryClient, touched: readonly Key[]): void {
  if (waiting.size === 0) {
    queueMicrotask(() => {
      const all = waiting;
      waiting = new Map();
      for (const queryKey of all.values()) void client.invalidateQueries({ queryKey, exact: true });
    });
  }
  for (const key of touched) waiting.set(JSON.stringify(key), key);
}
