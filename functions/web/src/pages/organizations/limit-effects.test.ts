import { expect, test } from 'vitest';
import type { SchemaOrganizationLimit } from '../../api/openapi.gen';
import { changesOf, effectsOf, valueIn } from './limit-effects';

const agents: SchemaOrganizationLimit = {
  limit: 'agents',
  default: 200,
  override: null,
  allowed: 200,
  used: 12,
  minimum: 0,
  maximum: 10_000,
};
const running: SchemaOrganizationLimit = {
  limit: 'runningStarts',
  default: 10,
  override: 20,
  allowed: 20,
  used: 3,
  minimum: 1,
  maximum: 1_000,
};
const limits = [agents, running];

test('only values that the API takes are sent, and nothing stands for the default', () => {
  expect(['', ' ', '0', '10000', '10001', '-1', '1.5', 'many'].map((text) => valueIn(text, agents))).toEqual([
    null,
    null,
    0,
    10_000,
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  expect(valueIn('0', running)).toBeUndefined();
});

test('only what differs is changed', () => {
  expect(changesOf(limits, {})).toEqual({});
  expect(changesOf(limits, { agents: '', runningStarts: '20' })).toEqual({});
  expect(changesOf(limits, { agents: '300', runningStarts: '' })).toEqual({ agents: 300, runningStarts: null });
  expect(changesOf(limits, { agents: '300', runningStarts: 'x' })).toBeNull();
});

test('a lower limit says what stays and what is refused', () => {
  const effects = (changes: Parameters<typeof effectsOf>[2]) => effectsOf('Acme', limits, changes);
  expect(effects({ agents: 500 })).toEqual(['Agents: goes from 200 to 500.']);
  expect(effects({ agents: 100 })).toEqual(['Agents: goes from 200 to 100.']);
  expect(effects({ agents: 5 })).toEqual([
    'Agents: goes from 200 to 5. Acme has 12: they stay, and none is added before there are fewer than 5.',
  ]);
  expect(effects({ agents: 0 })[0]).toContain('None is accepted any more; what there is stays.');
  expect(effects({ agents: 200 })).toEqual(['Agents: stays 200, also if the default changes.']);
  expect(effects({ runningStarts: null })).toEqual([
    'Starts at the same time: goes from 20 to 10, the default. Those that run go on; further ones wait.',
  ]);
});
