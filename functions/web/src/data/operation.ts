import { useMutation } from '@tanstack/react-query';
import { useCallback, useState } from 'react';
import { isPassing } from '../api/errors';
import type { Key } from '../api/keys';
import { client } from './client';
import { createRequests, type KeyedRequest, send } from './keyed-requests';
import { under } from './touch';

type Options<V, D> = {
  /** `perform` sends the Idempotency-Key: what the server answers then holds for earlier attempts, too. */
  readonly keyed?: boolean;
  /** Sent again when nobody answered. Only with the Idempotency-Key, or where a repetition changes nothing. */
  readonly repeatable?: boolean;
  /** What it changes: everything that is held under these keys is asked for again. Empty if it only reads. */
  readonly touches: readonly Key[];
  readonly onDone?: (data: D, asked: V) => void;
  /** Where no dialog is open that shows the reason. */
  readonly onRefused?: (error: Error, asked: V) => void;
};

/**
 * Something that is asked for with a click. `perform` gets the same Idempotency-Key whenever the same is asked for in the
 * same component, until it is done. Who uses the key belongs in a form or dialog that closes: on a page that stays, what
 * is wanted again much later could be answered with what happened the first time.
 */
export function useOperation<V, D>(perform: (asked: V, key: string) => Promise<D>, options: Options<V, D>) {
  const [requests] = useState(createRequests);
  const sending = {
    doubt: options.touches.length > 0 ? { repeatable: options.repeatable === true } : null,
    keyed: options.keyed === true,
  };
  const { mutate, reset, isPending, error, data, variables } = useMutation(
    {
      mutationFn: ({ asked, request }: { asked: V; request: KeyedRequest }) =>
        send(request, (key) => perform(asked, key), sending),
      retry: (failures, failure) => options.repeatable === true && isPassing(failure) && failures < 2,
      onSuccess: (answer, { asked }) => {
        requests.done(asked);
        options.onDone?.(answer, asked);
      },
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
  const run = useCallback((asked: V) => mutate({ asked, request: requests.of(asked) }), [mutate, requests]);
  return {
    run,
    reset,
    busy: isPending,
    error,
    data,
    asked: variables?.asked,
  };
}
