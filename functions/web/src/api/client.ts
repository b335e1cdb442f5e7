import createClient from 'openapi-fetch';
import { heard } from '../data/clock';
import { ApiError, fromResponse } from './errors';
import type { paths } from './openapi.gen';

/** Longer than the functions' timeout of 29 s, so that a slow answer is not taken for a lost one. */
const TIMEOUT = 35_000;

async function send(request: Request): Promise<Response> {
  const late = AbortSignal.timeout(TIMEOUT);
  // Not read afterwards: what breaks off because the network goes away may have arrived.
  const online = navigator.onLine;
  let response: Response;
  try {
    response = await fetch(request, { signal: AbortSignal.any([request.signal, late]), credentials: 'same-origin' });
  } catch (error) {
    if (request.signal.aborted) throw error;
    throw late.aborted
      ? new ApiError({ kind: 'timeout', message: 'The server did not answer within 35 seconds.' })
      : online
        ? new ApiError({ kind: 'network', message: 'The server cannot be reached.' })
        : new ApiError({ kind: 'offline', message: 'This device is offline. Nothing was sent.' });
  }
  heard(response.headers.get('date'));
  const type = response.headers.get('content-type') ?? '';
  if (response.redirected || (response.ok && !/json|event-stream|csv/.test(type))) {
    throw new ApiError({
      kind: 'foreign',
      status: response.ok ? 0 : response.status,
      message: 'Something between this page and the API answered instead of it, perhaps the sign-in page of a network.',
    });
  }
  return response;
}

export const api = createClient<paths>({ fetch: send });

type Answer<T> = { data?: T | undefined; error?: unknown; response: Response };

/** The JSON body of a success; an `ApiError` in all other cases. Lists could be CSV, too, but only if asked for it. */
export async function unwrap<T>(call: Promise<Answer<T>>): Promise<Exclude<T, string>> {
  const { data } = await answered(call);
  if (data === undefined) throw new ApiError({ kind: 'foreign', message: 'The server answered with an empty body.' });
  return data as Exclude<T, string>;
}

/** For the operations where the status itself says something (200 or 202, 409 with a job). */
export async function answered<T>(call: Promise<Answer<T>>): Promise<Answer<T>> {
  try {
    const answer = await call;
    if (!answer.response.ok) throw fromResponse(answer.response, answer.error);
    return answer;
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new ApiError({ kind: 'foreign', message: 'The answer is not JSON, so it does not come from the API.' });
    }
    throw error;
  }
}

/** A request that is repeated with it acts once. */
export const newKey = (): string => crypto.randomUUID();
