import { expect, test } from 'vitest';
import type { Agent } from '../api/operations';
import { agentsSentence } from './sentence';

const NOW = Date.parse('2026-11-27T12:00:00Z');
const agents = (...all: Agent['status'][]) =>
  all.map((status) => ({ status, billingStatus: 'active', lastHeartbeatAt: '2026-11-27T11:59:30Z' }) as Agent);

test('no agents', () => {
  expect(agentsSentence([], undefined, NOW)).toBe('You have no agents yet.');
});
test('all run', () => {
  expect(agentsSentence(agents('running', 'running'), undefined, NOW)).toBe('Two agents run.');
});
test('troubles are named', () => {
  expect(agentsSentence(agents('running', 'disconnected', 'error', 'error'), undefined, NOW)).toBe(
    'One agent runs; one is unreachable and two failed.',
  );
});
