import { expect, test } from 'vitest';
import { ApiError, effectOf, fromResponse, isFinal, isPassing, retryAfter } from './errors';

const response = (status: number, headers: Record<string, string> = {}) => new Response(null, { status, headers });

test('a problem document gives its text, its fields and the request', () => {
  const error = fromResponse(response(400), {
    success: false,
    error: 'The request is not valid.',
    instance: 'req-1',
    details: [{ field: 'agentName', message: 'is too long' }],
  });
  expect(error).toMatchObject({
    message: 'The request is not valid.',
    requestId: 'req-1',
    fields: [{ field: 'agentName' }],
  });
});
test('too little credit gives both figures', () => {
  const error = fromResponse(response(402), { success: false, error: 'x', requiredBalance: 5, currentBalance: 1.8 });
  expect(error.payment).toEqual({ required: 5, current: 1.8 });
});
test("the gateway's own answers are read as well", () => {
  expect(fromResponse(response(429, { 'retry-after': '3' }), '<html>').retryAfterMs).toBe(3000);
  expect(fromResponse(response(503), { message: 'Service Unavailable' }).message).toBe('Service Unavailable');
  expect(fromResponse(response(413), undefined).message).toContain('1 MB');
  expect(fromResponse(response(418), null).message).toBe('The server answered with HTTP 418.');
});
test('only what asking again cannot change is final', () => {
  const final = (status: number) => isFinal(new ApiError({ kind: 'http', status, message: '' }));
  expect([400, 401, 403, 404, 409, 422].every(final)).toBe(true);
  expect([408, 429, 500, 502, 503, 0].some(final)).toBe(false);
  expect(isPassing(new ApiError({ kind: 'network', message: '' }))).toBe(true);
});
test('a request whose key is in use is sent again, other conflicts are final', () => {
  const text = 'The first request with this Idempotency-Key is still running';
  const inUse = fromResponse(response(409, { 'retry-after': '2' }), { success: false, error: text });
  const conflict = fromResponse(response(409), { success: false, error: 'Not now' });
  expect([inUse, conflict].map(isPassing)).toEqual([true, false]);
  expect([inUse, conflict].map(isFinal)).toEqual([false, true]);
});
test.each([
  ['network', 0, 'unknown'],
  ['timeout', 0, 'unknown'],
  ['foreign', 0, 'unknown'],
  ['offline', 0, 'unsaid'],
  ['http', 500, 'unknown'],
  ['http', 503, 'unknown'],
  ['http', 502, 'unknown'],
  ['http', 408, 'unknown'],
  ['http', 401, 'unsaid'],
  ['http', 429, 'unsaid'],
  ['http', 400, 'none'],
  ['http', 402, 'none'],
  ['http', 409, 'none'],
] as const)('%s %d: the effect is %s', (kind, status, effect) => {
  expect(effectOf(new ApiError({ kind, status, message: '' }))).toBe(effect);
});
test('of a key that is in use the effect is unknown, and a 502 of the API itself is an answer', () => {
  expect(effectOf(fromResponse(response(409, { 'retry-after': '2' }), null))).toBe('unknown');
  expect(effectOf(fromResponse(response(502), { success: false, error: 'x', instance: 'req-1' }))).toBe('none');
  expect(effectOf(new TypeError('x'))).toBe('unknown');
});
test.each([
  ['a host that does not answer', '30', 'none', 'req-1'],
  ['a setting that is missing', '600', 'none', 'req-1'],
  ['a database that does not answer', '5', 'unknown', 'req-1'],
  ['something in front of the API', '30', 'unknown', null],
] as const)('a 503 of %s, with Retry-After %s: the effect is %s', (_of, seconds, effect, instance) => {
  const body = instance === null ? '<html>' : { success: false, error: 'x', instance };
  expect(effectOf(fromResponse(response(503, { 'retry-after': seconds }), body))).toBe(effect);
});
test('a limit that is reached for long is told at once, in the words of the server', () => {
  const problem = {
    success: false,
    error: 'Starts of an agent are limited to 10 an hour; please try again later',
    limit: 'startsPerAgentAndHour',
    used: 10,
    allowed: 10,
  };
  const after = (seconds: string) => fromResponse(response(429, { 'retry-after': seconds }), problem);
  expect(after('3060').message).toBe(problem.error);
  expect(after('3060').limit).toEqual({ used: 10, allowed: 10 });
  expect(after('3060').retryAt).toBeGreaterThan(Date.now() + 3_000_000);
  expect(fromResponse(response(409), { ...problem, limit: 'agents' })).toMatchObject({
    limit: { used: 10, allowed: 10 },
    retryAt: null,
  });
  expect(fromResponse(response(429, { 'retry-after': '3' }), '<html>').limit).toBeNull();
  expect([after('3060'), after('60')].map(isPassing)).toEqual([false, false]);
  expect([after('5'), fromResponse(response(429), problem)].map(isPassing)).toEqual([true, true]);
});
test('a host that does not answer is told at once, and a busy server is asked again', () => {
  const after = (seconds: string) => fromResponse(response(503, { 'retry-after': seconds }), { instance: 'req-1' });
  expect(['600', '30', '5'].map((seconds) => isPassing(after(seconds)))).toEqual([false, false, true]);
  expect(isPassing(fromResponse(response(503), ''))).toBe(true);
});
test('the refusal of a flood at the edge has a text of its own and no figures', () => {
  const text = 'Too many requests within a minute; please send fewer and try again later';
  const refusal = { success: false, error: text, instance: 'edge', limit: 'requestsAtTheEdge' };
  const error = fromResponse(response(429, { 'retry-after': '60' }), refusal);
  expect(error).toMatchObject({ message: text, requestId: 'edge', limit: null, retryAfterMs: 60_000 });
  expect([isFinal(error), isPassing(error)]).toEqual([false, false]);
});
test('Retry-After may be a date', () => {
  const now = Date.parse('2026-11-27T12:00:00Z');
  expect(retryAfter('Fri, 27 Nov 2026 12:00:10 GMT', now)).toBe(10_000);
  expect(retryAfter('soon', now)).toBeNull();
});
