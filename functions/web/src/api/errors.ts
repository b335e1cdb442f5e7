import type { SchemaFieldError, SchemaPaymentRequired, SchemaProblem } from './openapi.gen';

/** `http`: the API refused. `foreign`: something in front of the API answered. The others: nobody answered. */
export type ErrorKind = 'http' | 'foreign' | 'network' | 'offline' | 'timeout';

export type Payment = { readonly required: number; readonly current: number };
export type ReachedLimit = { readonly used: number; readonly allowed: number };
/** What was asked for may have been done although it failed. `repeatable`: asking again does not do it twice. */
export type Doubt = { readonly repeatable: boolean };

type Known = {
  kind: ErrorKind;
  status?: number;
  message: string;
  requestId?: string | null;
  retryAfterMs?: number | null;
  fields?: readonly SchemaFieldError[];
  payment?: Payment | null;
  limit?: ReachedLimit | null;
  doubt?: Doubt | null;
};

/** Every failure of a request, with a sentence that can be shown as it is. */
export class ApiError extends Error {
  readonly kind: ErrorKind;
  readonly status: number;
  readonly requestId: string | null;
  readonly retryAfterMs: number | null;
  readonly fields: readonly SchemaFieldError[];
  readonly payment: Payment | null;
  readonly limit: ReachedLimit | null;
  readonly doubt: Doubt | null;
  /** When it can be sent again, by the clock of the browser. */
  readonly retryAt: number | null;

  constructor(known: Known) {
    super(known.message);
    this.name = 'ApiError';
    this.kind = known.kind;
    this.status = known.status ?? 0;
    this.requestId = known.requestId ?? null;
    this.retryAfterMs = known.retryAfterMs ?? null;
    this.fields = known.fields ?? [];
    this.payment = known.payment ?? null;
    this.limit = known.limit ?? null;
    this.doubt = known.doubt ?? null;
    this.retryAt = this.retryAfterMs === null ? null : Date.now() + this.retryAfterMs;
  }
}

/** A request with the same Idempotency-Key still runs. No other 409 says when to try again. */
const isKeyInUse = (error: ApiError): boolean => error.status === 409 && error.retryAfterMs !== null;

/** Asking again cannot change the answer. */
export function isFinal(error: unknown): boolean {
  if (!(error instanceof ApiError) || isKeyInUse(error)) return false;
  return error.status >= 400 && error.status < 500 && ![408, 429].includes(error.status);
}

/** Nobody waits longer than this for an answer that may come if the request is sent again. */
const SOON = 10_000;

/**
 * The request may not have arrived, so a request with an Idempotency-Key may be sent again. A limit that is reached for
 * longer, and a host that does not answer, are told at once.
 */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  if ([429, 503].includes(error.status)) return (error.retryAfterMs ?? 0) <= SOON;
  return error.kind === 'network' || error.kind === 'timeout' || isKeyInUse(error);
}

/** These are answered before the server looks at the Idempotency-Key; 422 also if it cannot read what it kept with it. */
const BEFORE_THE_KEY = [401, 403, 413, 422, 429];

/**
 * What a failure says of the effect of a request. `none`: it has none, and neither has an earlier request with the same
 * Idempotency-Key. `unsaid`: it has none itself, and of earlier ones nothing is said. `unknown`: the answer is lost, or
 * the server itself does not know, as after an error of its database.
 */
export function effectOf(error: unknown): 'none' | 'unsaid' | 'unknown' {
  if (!(error instanceof ApiError)) return 'unknown';
  if (error.kind === 'offline' || BEFORE_THE_KEY.includes(error.status)) return 'unsaid';
  // A 502 with the id of a request is the API's own, which says what failed on a host.
  const own = error.status === 501 || (error.status === 502 && error.requestId !== null);
  // The API's own 503s that leave it open say a few seconds, as those of its database. A host that does not answer
  // (30 s) and a setting that is missing (600 s) are found before anything is done.
  const refused = error.status === 503 && error.requestId !== null && (error.retryAfterMs ?? 0) > SOON;
  return isFinal(error) || own || refused ? 'none' : 'unknown';
}

/** What happened in a few words, for "Last answer 3 min ago: ...". */
export function inShort(error: unknown): string {
  if (!(error instanceof ApiError)) return 'this page failed';
  if (error.kind === 'offline') return 'this device is offline';
  if (error.kind === 'timeout') return 'no answer in time';
  if (error.kind === 'network') return 'the server cannot be reached';
  if (error.kind === 'foreign') return 'something else answered';
  return `HTTP ${error.status}`;
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const has = <K extends string>(value: unknown, key: K): value is Record<K, unknown> =>
  typeof value === 'object' && value !== null && key in value;

export function retryAfter(header: string | null, now: number): number | null {
  if (!header) return null;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}

const WORDS: Record<number, string> = {
  400: 'The server did not understand this request.',
  401: 'Your session has ended. Sign in and try again.',
  403: 'You may not do this.',
  404: 'It does not exist, or it is not yours.',
  409: 'The current state does not allow this.',
  413: 'This is too large: at most 1 MB can be sent.',
  429: 'Too many requests at the moment.',
  502: 'What is behind the server answered badly.',
  503: 'The server is busy at the moment.',
};

/** Reads any error body: ours, the gateway's, none, or HTML. */
export function fromResponse(response: Response, body: unknown): ApiError {
  const status = response.status;
  const problem = body as Partial<SchemaProblem & SchemaPaymentRequired>;
  const text =
    (status === 401 && WORDS[401]) ||
    (has(body, 'error') && typeof body.error === 'string' && body.error) ||
    (has(body, 'detail') && typeof body.detail === 'string' && body.detail) ||
    (has(body, 'message') && typeof body.message === 'string' && body.message) ||
    WORDS[status] ||
    `The server answered with HTTP ${status}.`;
  return new ApiError({
    kind: 'http',
    status,
    message: text,
    requestId: (has(body, 'instance') ? String(problem.instance) : null) ?? response.headers.get('x-request-id'),
    retryAfterMs: retryAfter(response.headers.get('retry-after'), Date.now()),
    fields: has(body, 'details') && Array.isArray(problem.details) ? problem.details : [],
    payment:
      has(body, 'requiredBalance') && has(body, 'currentBalance')
        ? { required: Number(body.requiredBalance), current: Number(body.currentBalance) }
        : null,
    limit:
      has(body, 'limit') && has(body, 'used') && has(body, 'allowed')
        ? { used: Number(body.used), allowed: Number(body.allowed) }
        : null,
  });
}
