import { describe, expect, test } from 'vitest';
import type { SchemaFleetSummary, SchemaNode } from '../../api/openapi.gen';
import type { FleetNode, Incident } from '../../api/operations';
import { level } from '../../ui/meter';
import {
  backlogTone,
  DISK,
  detailOf,
  fleetSentence,
  grouped,
  groupTitle,
  hostState,
  loadMarks,
  loadOf,
  merged,
  subjectOf,
  unreadSince,
} from './hosts';

const node = { id: 'a', nodeId: 'eu-1', enabled: true } as SchemaNode;
const runtime = { reachable: true, dockerReadable: true, error: null, loadAverage: '0.42' } as FleetNode['runtime'];
const seen = {
  id: 'a',
  nodeId: 'eu-1',
  observedAt: '2026-11-27T14:00:00.000Z',
  alerts: [],
  runtime,
} as unknown as FleetNode;
const alert = (code: string, severity: 'critical' | 'warning' | 'info') => ({ code, severity, text: `${code}!` });
const state = (change: Partial<FleetNode> | null, enabled = true) =>
  hostState({ id: 'eu-1', node: { ...node, enabled }, seen: change === null ? null : { ...seen, ...change } });

describe('what is known of a host', () => {
  test('a host that the inspection does not know yet is not read, and not healthy', () => {
    expect(merged([node], undefined)[0]?.seen).toBeNull();
    expect(merged([node], [{ ...seen, id: 'another' }])[0]?.seen).toBeNull();
    expect(merged([node], [seen])[0]?.seen).toBe(seen);
    expect(state(null).word).toBe('Not read yet');
    expect(state({ observedAt: null }).tone).toBe('unknown');
  });
  test('the worst that is known decides', () => {
    expect(state({}).word).toBe('Healthy');
    expect(state({ alerts: [alert('pinned', 'info')] }).word).toBe('Healthy');
    expect(state({ alerts: [alert('disk', 'warning')] })).toMatchObject({ word: 'Warning', note: 'disk!' });
    expect(state({ alerts: [alert('disk', 'critical')] }).tone).toBe('bad');
    expect(state({ runtime: { ...runtime, dockerReadable: false } }).word).toBe('Docker down');
    expect(state({ runtime: { ...runtime, reachable: false } }).word).toBe('Does not answer');
    const other = { runtime: { ...runtime, reachable: false }, alerts: [alert('host_key_mismatch', 'critical')] };
    expect(state(other).word).toBe('Other key');
    expect(state({}, false)).toMatchObject({ word: 'Disabled', tone: 'off' });
    expect(state({ alerts: [alert('disk', 'critical')] }, false)).toMatchObject({ word: 'Disabled', tone: 'bad' });
    expect(state(other, false).word).toBe('Other key');
    const withdrawn = (service: SchemaNode['service']) => hostState({ id: 'eu-1', node: { ...node, service }, seen });
    expect(withdrawn('draining')).toMatchObject({ word: 'Draining', tone: 'busy' });
    expect(withdrawn('returned')).toMatchObject({ word: 'Returned', tone: 'warn' });
    expect(withdrawn('in_service').word).toBe('Healthy');
  });
  test('since when it is not read is only said where it is known', () => {
    const host = { id: 'eu-1', node, seen };
    const incident = { code: 'unreachable', scope: 'node', nodeId: 'eu-1' } as Incident;
    expect(unreadSince(host, [incident])).toBeNull();
    expect(unreadSince(host, [{ ...incident, since: 'then' }])).toBe('then');
    expect(unreadSince(host, [{ ...incident, code: 'disk', since: 'then' }])).toBeNull();
  });
});

describe('figures', () => {
  test('null is not read, and zero is a value', () => {
    expect(loadOf({ ...seen, runtime: { ...runtime, loadAverage: null } }).value).toBeNull();
    expect(loadOf({ ...seen, runtime: { ...runtime, loadAverage: '0.00' } }).value).toBe(0);
    expect(loadOf({ ...seen, alerts: [alert('load', 'critical')] }).tone).toBe('bad');
  });
  test('a value on a threshold has reached it', () => {
    expect([84, 85, 94, 95].map((value) => level(value, DISK))).toEqual(['ok', 'warn', 'warn', 'bad']);
    expect(loadMarks(4)).toEqual({ warning: 8, critical: 16 });
    expect(loadMarks(null)).toBeNull();
    expect(level(99, null)).toBe('ok');
  });
});

test('the sentence names what is wrong before the numbers, and what is not known', () => {
  const summary = { allocatedSlots: 41, totalCapacity: 48, offlineNodes: 1, unknownNodes: 0 } as SchemaFleetSummary;
  const incidents = [{ severity: 'critical' }, { severity: 'warning' }, { severity: 'info' }] as Incident[];
  expect(fleetSentence(summary, incidents)).toBe(
    '1 critical, 1 warning. 41 of 48 slots are taken. 1 host is not read, so less is known than it seems.',
  );
  expect(fleetSentence({ ...summary, offlineNodes: 0 }, [])).toBe('Nothing is wrong. 41 of 48 slots are taken.');
});

test('an incident leads to what it is about', () => {
  const of = (part: Partial<Incident>) => subjectOf({ code: 'disk', ...part } as Incident);
  expect(of({ nodeId: 'eu 1' })).toBe('/fleet/nodes/eu%201');
  expect(of({ nodeId: 'eu-1', containerId: '11111111-2222-4333-8444-555555555555' })).toBe(
    '/containers?q=11111111-2222-4333-8444-555555555555',
  );
  expect(of({ nodeId: 'eu-1', containerId: 'f'.repeat(64) })).toBe(`/containers?q=${'f'.repeat(64)}&show=unclaimed`);
  expect(of({ code: 'billing_findings' })).toBe('/billing/runs?view=findings');
  expect(of({ code: 'no_hosts' })).toBeNull();
});

test('the detail of an incident does not repeat its title', () => {
  const title = 'eu-1: The disk is filling up';
  expect(detailOf({ title, detail: 'The disk is filling up: 87 %' })).toBe('87 %');
  expect(detailOf({ title, detail: 'The disk is filling up' })).toBeNull();
  expect(detailOf({ title, detail: 'The disk is filling up. 2 agents there' })).toBe('2 agents there');
  expect(detailOf({ title: 'Agent ada has failed', detail: 'The agent is in error' })).toBe('The agent is in error');
});

test('hundreds of failed agents do not hide the host that caused it', () => {
  const agent = (index: number) =>
    ({
      severity: 'critical',
      scope: 'container',
      code: 'container_failed',
      title: `Agent ${index}`,
      containerId: `${index}`,
    }) as Incident;
  const host = { severity: 'critical', scope: 'node', code: 'unreachable', title: 'eu-1', nodeId: 'eu-1' } as Incident;
  const warning = { severity: 'warning', scope: 'node', code: 'disk', title: 'eu-2', nodeId: 'eu-2' } as Incident;
  const groups = grouped([...Array.from({ length: 403 }, (_, index) => agent(index)), host, warning]);
  expect(groups.map((group) => group.all.length)).toEqual([1, 403, 1]);
  expect(groups.map((group) => group.first.scope)).toEqual(['node', 'container', 'node']);
  expect(groups[1] && groupTitle(groups[1])).toBe('403 agents have failed');
  expect(grouped([agent(1), agent(2)])).toHaveLength(2);
});

test('a stop that has waited for ten minutes is bad, a start that has waited for half an hour a warning', () => {
  const at = Date.parse('2026-11-27T14:00:00.000Z');
  const lane = (minutes: number | null) => ({
    due: minutes === null ? 0 : 1,
    running: 0,
    oldestDueAt: minutes === null ? null : new Date(at - minutes * 60_000).toISOString(),
  });
  const tone = (stops: number | null, starts: number | null) =>
    backlogTone({ stops: lane(stops), starts: lane(starts) }, at);
  expect([tone(null, null), tone(9, 29)]).toEqual([undefined, undefined]);
  expect([tone(10, null), tone(10, 30), tone(null, 30)]).toEqual(['bad', 'bad', 'warn']);
});
