/** Requests that may be sent several times and must act once. Pure but for the keys, which are random. */
import { newKey } from '../api/client';
import { ApiError, type Doubt, effectOf } from '../api/errors';

/** One request, however often it is sent: by retries, and by further clicks. */
export type KeyedRequest = {
  readonly key: string;
  /** It may have been done already: an answer was lost. */
  inDoubt: boolean;
};

export const newRequest = (): KeyedRequest => ({ key: newKey(), inDoubt: false });

/**
 * What is asked for in one form or dialog. The same thing is the same request until it is done: an answer that is lost,
 * or an error of the server, does not say that nothing happened. A new key is never needed after a refusal, because the
 * server forgets the key of what had no effect.
 */
export function createRequests() {
  const pending = new Map<string, KeyedRequest>();
  const name = (asked: unknown) => JSON.stringify(asked) ?? '';
  return {
    of(asked: unknown): KeyedRequest {
      const request = pending.get(name(asked)) ?? newRequest();
      pending.set(name(asked), request);
      return request;
    },
    done: (asked: unknown): void => {
      pending.delete(name(asked));
    },
  };
}

type Sending = {
  readonly doubt: Doubt | null;
  /**
   * `perform` sends the key. Without it a refusal says nothing of an earlier request: a deletion whose answer was lost
   * may be why there is nothing to delete any more.
   */
  readonly keyed: boolean;
};

/** Sends it once more. If it fails and may have been done all the same, the error has the doubt. */
export async function send<D>(
  request: KeyedRequest,
  perform: (key: string) => Promise<D>,
  { doubt, keyed }: Sending,
): Promise<D> {
  try {
    return await perform(request.key);
  } catch (error) {
    const effect = effectOf(error);
    if (effect === 'unknown') request.inDoubt = true;
    else if (effect === 'none' && keyed) request.inDoubt = false;
    if (!request.inDoubt || !(error instanceof ApiError)) throw error;
    throw new ApiError({ ...error, message: error.message, doubt });
  }
}
