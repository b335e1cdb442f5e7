import { useMutation } from '@tanstack/react-query';
import { useCallback } from 'react';
import { newKey } from '../api/client';
import { isPassing } from '../api/errors';
import type { Key } from '../api/keys';
import { client } from './client';
import { under } from './touch';

type Options<V, D> = {
  /** Sent again when nobody answered. Only with the Idempotency-Key, or where a repetition changes nothing. */
  readonly repeatable?: boolean;
  /** What it changes: everything that is held under these keys is asked for again. */
  readonly touches: readonly Key[];
  readonly onDone?: (data: D, asked: V) => void;
  /** Where no dialog is open that shows the reason. */
  readonly onRefused?: (error: Error, asked: V) => void;
};

/** Something that an operator asks for. `perform` gets one Idempotency-Key per click. */
export function useOperation<V, D>(perform: (asked: V, key: string) => Promise<D>, options: Options<V, D>) {
  const { mutate, reset, isPending, error, data, variables } = useMutation(
    {
      mutationFn: ({ asked, key }: { asked: V; key: string }) => perform(asked, key),
      retry: (failures, failure) => options.repeatable === true && isPassing(failure) && failures < 2,
      onSuccess: (answer, { asked }) => options.onDone?.(answer, asked),
      onError: (failure, { asked }) => options.onRefused?.(failure, asked),
      meta: {
        // Read when it has ended: what is held by then.
        get touches() {
          return under(...options.touches);
        },
      },
    },
    client,
  );
  const run = useCallback((asked: V) => mutate({ asked, key: newKey() }), [mutate]);
  return {
    run,
    reset,
    busy: isPending,
    error,
    data,
    asked: variables?.asked,
  };
}
