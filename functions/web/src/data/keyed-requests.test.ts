import { expect, test } from 'vitest';
import { ApiError, type ErrorKind } from '../api/errors';
import { createRequests, newRequest, send } from './keyed-requests';

const failure = (kind: ErrorKind, status = 0) => new ApiError({ kind, status, message: `${kind} ${status}` });
const DOUBT = { repeatable: true };
const KEYED = { doubt: DOUBT, keyed: true };
const UNKEYED = { doubt: { repeatable: false }, keyed: false };
const failed = (request: ReturnType<typeof newRequest>, error: Error, sending: Parameters<typeof send>[2] = KEYED) =>
  send(request, () => Promise.reject(error), sending).catch((thrown: ApiError) => thrown);

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

test('without a key no refusal says what became of an earlier request', async () => {
  const request = newRequest();
  expect(await failed(request, failure('http', 404), UNKEYED)).toMatchObject({ doubt: null });
  await failed(request, failure('network'), UNKEYED);
  const second = await failed(request, failure('http', 404), UNKEYED);
  expect(second).toMatchObject({ status: 404, doubt: { repeatable: false } });
  const keyed = newRequest();
  await failed(keyed, failure('network'));
  expect(await failed(keyed, failure('http', 404))).toMatchObject({ status: 404, doubt: null });
});

test('each sending has the key of the request', async () => {
  const request = newRequest();
  const used: string[] = [];
  for (let i = 0; i < 2; i += 1) await send(request, async (key) => used.push(key), KEYED);
  expect(used).toEqual([request.key, request.key]);
});
