import { expect, test } from 'vitest';
import type { SchemaContainerAudit, SchemaNetwork } from '../../api/openapi.gen';
import { matches, networkSentence } from '../network/peers';
import { auditSentence } from './words';

const audit = (change: Partial<SchemaContainerAudit>) =>
  auditSentence({
    nodes: [{}, {}],
    nodesChecked: 2,
    totalGhostContainers: 0,
    totalOrphanRecords: 0,
    ...change,
  } as never);

test('a host that was not read is no good news', () => {
  expect(audit({})).toBe('Everything is where the database says.');
  expect(audit({ nodesChecked: 1 })).toBe('1 host was not read.');
  expect(audit({ totalGhostContainers: 3, totalOrphanRecords: 1 })).toBe(
    '1 agent has lost the container, 3 containers are claimed by nobody.',
  );
  expect(audit({ nodes: [], nodesChecked: 0 })).toBe('No host is enabled.');
});

test('nodes of the network are found by name, address and tag', () => {
  const peer = {
    name: 'eu-1',
    givenName: 'Frankfurt',
    user: null,
    ipAddresses: ['100.64.0.1'],
    tags: ['tag:host'],
    online: true,
  } as unknown as SchemaNetwork['vpnNodes'][number];
  expect(matches(peer, 'all', 'frank 100.64')).toBe(true);
  expect(matches(peer, 'offline', '')).toBe(false);
  expect(matches(peer, 'online', 'paris')).toBe(false);
  const sentence = (total: number, online: number) =>
    networkSentence({ summary: { total, online, offline: total - online } } as SchemaNetwork);
  expect(sentence(0, 0)).toBe('No node has joined the network.');
  expect(sentence(3, 3)).toBe('All 3 nodes are online.');
  expect(sentence(3, 2)).toBe('1 node is offline, 2 of 3 online.');
});
