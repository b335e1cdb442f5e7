import { expect, test } from 'vitest';
import { type Drained, drainEffects, drainProgress } from './drain';

const agent = (fate: Drained['fate'], error: string | null = null) => ({ fate, error }) as Drained;

test('a plan says what is moved and what stays behind', () => {
  expect(drainEffects([])).toEqual(['No agent runs there.']);
  const effects = drainEffects([agent('moves'), agent('waits'), agent('unsaved'), agent('saved'), agent('empty')]);
  expect(effects).toHaveLength(4);
  expect(effects[0]).toContain('1 agent runs there');
  expect(effects[2]).toContain('the host cannot be removed');
});

test('the progress counts what is left, and says what failed', () => {
  const drain = { moved: 3, doneAt: null, agents: [agent('moves', 'no'), agent('moving'), agent('saved')] };
  expect(drainProgress(drain)).toBe('3 agents are moved, 2 to go. 1 move failed and will be tried again.');
  expect(drainProgress({ ...drain, doneAt: '2026-11-27T14:00:00.000Z' })).toContain('can be removed');
});
