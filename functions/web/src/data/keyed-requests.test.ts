import { expect, test } from 'vitest';
import { ApiError, type ErrorKind } from '../api/errors';
import { createRequests, newRequest, send } from './keyed-requests';

const failure = (kind: ErrorKind, status = 0) => new ApiError({ kind, status, message: `${kind} ${status}` });
const DOUBT = { repeatable: true };
const failed = (request: ReturnType<typeof newRequest>, error: Error) =>
  send(request, () => Promise.reject(error), DOUBT).catch((thrown: ApiError) => thrown);

test('the same thing has the same key until it is done, and another one another', () => {
  const requests = createRequests();
  const { key } = requests.of({ amount: 10, reason: 'gift' });
  expect(requests.of({ amount: 10, reason: 'gift' }).key).toBe(key);
  const other = requests.of({ amount: 20, reason: 'gift' }).key;
  expect(other).not.toBe(key);
  expect(requests.of({ amount: 10, reason: 'gift' }).key).toBe(key);
  requests.done({ amount: 10, reason: 'gift' });
  expect(requests.of({ amount: 10, reason: 'gift' }).key).not.toBe(key);
  expect(requests.of({ amount: 20, reason: 'gift' }).key).toBe(other);
  expect(requests.of(undefined).key).toBe(requests.of(undefined).key);
});

test('a lost answer leaves a doubt, with the words of the error', async () => {
  const request = newRequest();
  expect(await failed(request, failure('network'))).toMatchObject({ message: 'network 0', doubt: DOUBT });
  expect(await failed(newRequest(), failure('http', 500))).toMatchObject({ status: 500, doubt: DOUBT });
});

test('a refusal leaves no doubt', async () => {
  const refusal = failure('http', 409);
  expect(await failed(newRequest(), refusal)).toBe(refusal);
  expect(await failed(newRequest(), failure('offline'))).toMatchObject({ doubt: null });
});

test('after a lost answer only an answer about the same key ends the doubt', async () => {
  const request = newRequest();
  await failed(request, failure('network'));
  expect(await failed(request, failure('offline'))).toMatchObject({ doubt: DOUBT });
  expect(await failed(request, failure('http', 401))).toMatchObject({ doubt: DOUBT });
  expect(await failed(request, failure('http', 402))).toMatchObject({ doubt: null });
  expect(await failed(request, failure('http', 401))).toMatchObject({ doubt: null });
});

test('each sending has the key of the request', async () => {
  const request = newRequest();
  const used: string[] = [];
  for (let i = 0; i < 2; i += 1) await send(request, async (key) => used.push(key), DOUBT);
  expect(used).toEqual([request.key, request.key]);
});
