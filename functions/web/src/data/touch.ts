import type { Key } from '../api/keys';
import { client } from './client';

/** The exact keys of everything that is held under these beginnings, for a mutation's `touches`. */
export const under = (...beginnings: readonly Key[]): readonly Key[] =>
  beginnings.flatMap((queryKey) =>
    client
      .getQueryCache()
      .findAll({ queryKey })
      .map((query) => query.queryKey),
  );
