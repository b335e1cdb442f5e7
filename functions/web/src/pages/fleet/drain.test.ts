import { expect, test } from 'vitest';
import { type Drained, drainEffects, drainProgress, toGo } from './drain';

const agent = (fate: Drained['fate'], error: string | null = null) => ({ fate, error }) as Drained;

test('a plan says what is moved and what stays behind', () => {
  expect(drainEffects([])).toEqual(['No agent runs there.']);
  const effects = drainEffects([agent('moves'), agent('waits'), agent('unsaved'), agent('saved'), agent('empty')]);
  expect(effects).toHaveLength(4);
  expect(effects[0]).toContain('1 agent runs there');
  expect(effects[2]).toContain('the host cannot be removed');
  expect(drainEffects([agent('stays')])).toEqual([
    '1 agent has too much data to be copied within 10 minutes. The drain is not done while it runs there.',
  ]);
});

test('the progress counts what is left, and says what failed', () => {
  const drain = { moved: 3, doneAt: null, agents: [agent('moves', 'no'), agent('moving'), agent('saved')] };
  expect(drainProgress(drain)).toBe('3 agents are moved, 2 to go. 1 move failed and will be tried again.');
  expect(toGo(drain)).toBe(2);
  expect(drainProgress({ ...drain, agents: [agent('stays', 'too much')] })).toBe(
    '3 agents are moved, 0 to go. 1 agent has too much data to be moved.',
  );
  expect(drainProgress({ ...drain, doneAt: '2026-11-27T14:00:00.000Z' })).toContain('can be removed');
});
