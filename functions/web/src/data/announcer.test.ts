import { expect, test } from 'vitest';
import type { SchemaAgentStatus, SchemaJobVerb } from '../api/openapi.gen';
import { alreadyTold, type Heard, listen, moving, SILENCE } from './announcer';

type Row = {
  id: string;
  agentName: string | null;
  status: SchemaAgentStatus;
  pendingAction: SchemaJobVerb | null;
  errorMessage: string | null;
};
const row = (
  status: SchemaAgentStatus,
  pendingAction: SchemaJobVerb | null = null,
  errorMessage: string | null = null,
): Row => ({
  id: 'a',
  agentName: 'ada',
  status,
  pendingAction,
  errorMessage,
});
const truth = (one: Row, at: number) => ({ rows: { a: { row: one, at } }, gone: {}, listed: at });

function told(...steps: [Row, number][]): string[] {
  let heard: Heard = SILENCE;
  return steps.flatMap(([one, at]) => {
    const next = listen(heard, truth(one, at));
    heard = next.heard;
    return next.news.map((news) => news.text);
  });
}

test('nothing is told about what was there at first', () => {
  expect(told([row('error', null, 'x'), 0])).toEqual([]);
});

test('the end of a start is told once', () => {
  expect(
    told(
      [row('pending', 'provision'), 0],
      [row('provisioning', 'provision'), 1],
      [row('running'), 2],
      [row('running'), 3],
    ),
  ).toEqual(['ada is running.']);
});

test('an answer that was asked for earlier changes nothing', () => {
  expect(
    told(
      [row('provisioning', 'provision'), 0],
      [row('running'), 5],
      [row('provisioning', 'provision'), 3],
      [row('running'), 6],
    ),
  ).toEqual(['ada is running.']);
});

test('a failure is told with its reason', () => {
  expect(told([row('provisioning', 'provision'), 0], [row('error', null, 'The image was not found.'), 1])).toEqual([
    'ada failed. The image was not found.',
  ]);
});

test('a host that stops answering is told, and that it costs nothing', () => {
  expect(told([row('running'), 0], [row('disconnected'), 1])).toEqual([
    'The host of ada does not answer. You are not charged meanwhile.',
  ]);
});

test('what the answer to an action has told is not told again', () => {
  let heard = listen(SILENCE, truth(row('running'), 0)).heard;
  heard = alreadyTold(heard, 'a', 10);
  const next = listen(heard, truth(row('stopped'), 11));
  expect(next.news).toEqual([]);
  expect(listen(next.heard, truth(row('running'), 12)).news).toHaveLength(1);
});

test('an agent that was created but never started does not move', () => {
  expect(moving(row('pending'))).toBe(false);
  expect(moving(row('pending', 'provision'))).toBe(true);
  expect(moving(row('provisioning'))).toBe(true);
});
