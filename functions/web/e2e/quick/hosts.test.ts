// Hosts in trouble, from the simulated ones: unreachable is not lost, and another key is refused and said.
import { expect, inject } from 'vitest';
import { row, seen } from '../browser';
import { sql } from '../database';
import { scenario } from '../scenario';
import { call } from '../traffic';

const { operatorKey } = inject('stack');
/** Hosts are read once a minute, and a change needs two readings that agree. */
const TWO_READINGS = 200_000;

scenario(
  'the agents of a host that does not answer are unreachable, not lost, and cost nothing',
  async (visit) => {
    const { page } = visit;
    await visit.as(operatorKey);
    await visit.goto('/agents?sort=status');
    const [name = ''] = await sql(`SELECT agent_name FROM milady_sandboxes s JOIN api_keys k USING (organization_id)
    WHERE s.node_id = 'sim-silent' AND k.key = '${operatorKey}' LIMIT 1`);
    const one = row(page, name);
    await one.getByText('Unreachable').waitFor({ timeout: TWO_READINGS });
    await seen(one, 'not charged');
    await one.getByRole('link', { name, exact: true }).click();
    await seen(page, 'Its host does not answer.');
    await seen(page, 'You are not charged meanwhile');
    expect(await page.getByText(/lost|missing/i).count()).toBe(0);
  },
  { timeout: TWO_READINGS + 30_000 },
);

scenario('a host that shows another key than the pinned one is an incident with its fingerprint', async (visit) => {
  const { page } = visit;
  const { nodes } = (
    await call<{ data: { nodes: { nodeId: string; error: string | null }[] } }>(
      operatorKey,
      'GET /admin/infrastructure',
    )
  ).data;
  expect(nodes.map((node) => node.nodeId)).toContain('sim-changed-key');
  await visit.as(operatorKey);
  await visit.goto('/fleet');
  await seen(page, /sim-changed-key/);
  await visit.goto('/fleet/nodes/sim-changed-key');
  await seen(page, /key is not the one we know/);
  await seen(page, /SHA256:/);
});
