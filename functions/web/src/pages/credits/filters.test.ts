import { expect, test } from 'vitest';
import { bounds, historyQuery } from './filters';

test('the last day is included, for the API excludes its bound', () => {
  expect(bounds({ from: '2026-11-01', to: '2026-11-30' })).toEqual({ from: '2026-11-01', to: '2026-12-01' });
  expect(bounds({ from: '', to: '' })).toEqual({});
  expect(bounds({ from: 'yesterday', to: 'x' })).toEqual({});
});

test("an agent's charges have no type", () => {
  expect(historyQuery({ type: 'grant', agent: '', from: '', to: '' })).toEqual({ limit: 50, type: 'grant' });
  expect(historyQuery({ type: 'grant', agent: 'a', from: '', to: '' })).toEqual({ limit: 50, agentId: 'a' });
});
