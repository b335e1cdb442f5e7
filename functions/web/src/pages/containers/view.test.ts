import { describe, expect, test } from 'vitest';
import type { ContainerRow, FleetContainer, FleetNode } from '../../api/operations';
import { cannot, cannotSuspend, plan } from './plan';
import { agentView, containersSentence, healthWord, matchesShow, matchesText, onHost, unclaimedView } from './view';

const row = {
  id: '11111111-2222-4333-8444-555555555555',
  agentName: 'Ada',
  organizationId: 'o',
  organizationName: 'Acme',
  status: 'running',
  nodeId: 'eu-1',
  containerName: 'milady-11111111-2222-4333-8444-555555555555',
  dockerImage: 'milady/agent:1',
  lastHeartbeatAt: null,
  errorMessage: null,
  createdAt: '2026-11-27T14:00:00.000Z',
} as ContainerRow;
const seen = {
  id: row.id,
  liveHealth: 'missing',
  liveHealthSeverity: 'critical',
  liveHealthReason: 'The container is not on its host',
  runtimePresent: false,
  runtimeState: null,
} as FleetContainer;
const ghost = {
  name: 'milady-999',
  containerId: '9'.repeat(64),
  state: 'running',
  status: 'Up 2 days',
  createdAt: '2026-11-25T14:00:00.000Z',
};

describe('what is known of a container', () => {
  test('a row without an observation is not read, which is neither healthy nor missing', () => {
    const view = agentView(row, undefined);
    expect(healthWord(view)).toEqual({ tone: 'unknown', word: 'Not read yet' });
    expect(matchesShow('missing', view)).toBe(false);
    expect(view.present).toBeNull();
  });
  test('a status that this version does not know is unknown', () => {
    expect(agentView({ ...row, status: 'hibernating' }, seen).status).toBe('unknown');
  });
  test('missing and unclaimed ones are told apart', () => {
    expect(matchesShow('missing', agentView(row, seen))).toBe(true);
    expect(matchesShow('unclaimed', unclaimedView('eu-1', ghost))).toBe(true);
    expect(unclaimedView('eu-1', { ...ghost, elsewhere: 'eu-2' }).severity).toBe('critical');
    expect(unclaimedView('eu-1', { ...ghost, state: 'exited' }).severity).toBe('info');
  });
  test('every container of a host is listed once', () => {
    const host = {
      nodeId: 'eu-1',
      ghostContainers: [ghost],
      runtime: {
        containers: [
          { id: 'a', name: row.containerName, image: 'i', state: 'running', status: 'Up' },
          { id: 'b', name: ghost.name, image: 'i', state: 'running', status: 'Up' },
          { id: 'c', name: 'reverse-proxy', image: 'nginx', state: 'running', status: 'Up' },
        ],
      },
    } as unknown as FleetNode;
    const rows = [row as never];
    expect(onHost(rows, host, [seen]).map((one) => one.kind)).toEqual(['agent', 'unclaimed', 'other']);
    expect(onHost(rows, null, []).map((one) => one.kind)).toEqual(['agent']);
  });
  test("a container of an agent at rest is the agent's, though its row names none", () => {
    const rest = { ...row, status: 'stopped', containerName: null };
    const there = { ...seen, runtimePresent: true };
    expect(agentView(rest, there).containerName).toBe(`milady-${row.id}`);
    expect(agentView(rest, seen).containerName).toBeNull();
    const host = {
      nodeId: 'eu-1',
      ghostContainers: [],
      runtime: { containers: [{ id: 'a', name: `milady-${row.id}`, image: 'i', state: 'running', status: 'Up' }] },
    } as unknown as FleetNode;
    expect(onHost([rest as never], host, [there])).toHaveLength(1);
  });
  test('search finds names, organizations and identifiers', () => {
    const view = agentView(row, seen);
    expect(matchesText('acme ada', view)).toBe(true);
    expect(matchesText(row.id, view)).toBe(true);
    expect(matchesText('bert', view)).toBe(false);
  });
  test('the sentence names what is missing', () => {
    const views = [agentView(row, seen), unclaimedView('eu-1', ghost)];
    expect(containersSentence(views, 1)).toBe('1 agent; 1 missing, 1 unclaimed.');
    expect(containersSentence([], 0)).toBe('No agent has a place on a host.');
    expect(containersSentence(views, 9)).toContain('1 of 9 agents');
  });
});

describe('what an action will do', () => {
  const agent = agentView(row, { ...seen, runtimePresent: true });
  const stray = unclaimedView('eu-2', ghost);
  test('the object, its host, agent and organization are named', () => {
    const { title, effects } = plan('restart', agent);
    expect(title).toBe(`Restart ${row.containerName} on eu-1?`);
    expect(effects.join(' ')).toContain('its agent Ada of Acme is down for about 10 seconds');
  });
  test('removing wants the name typed and names the container by its id', () => {
    const removal = plan('remove-ghost', stray);
    expect(removal.typed).toBe('milady-999');
    expect(removal.effects[0]).toContain('999999999999');
  });
  test('what the server would refuse is not offered', () => {
    expect(cannot('stop', agent)).toContain('suspend it instead');
    expect(cannot('stop', { ...agent, status: 'stopped' })).toBeNull();
    expect(cannot('restart', { ...agent, status: 'stopped' })).toContain('not charged');
    expect(cannot('restart', stray)).toBe('Nobody would pay for it');
    expect(cannot('remove-ghost', agent)).toBe('An agent claims it');
    expect(cannot('remove-ghost', stray)).toBeNull();
    expect(cannot('logs', { ...agent, present: false })).toBe('The container is not on its host');
    expect(cannot('logs', { ...agent, containerName: null })).toBe('The row names no container');
  });
  test('only an agent that is not stopped is suspended', () => {
    for (const status of ['running', 'provisioning', 'pending', 'disconnected', 'error'] as const)
      expect(cannotSuspend({ ...agent, status })).toBeNull();
    expect(cannotSuspend({ ...agent, status: 'stopped' })).toContain('stopped already');
    expect(cannotSuspend({ ...agent, status: 'unknown' })).toContain('not known');
    expect(cannotSuspend(stray)).toContain('not known');
  });
});
