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
    // Not the whole page: a message may be about the agent that is called "lost".
    expect(
      await page
        .locator('main')
        .getByText(/lost|missing/i)
        .count(),
    ).toBe(0);
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

scenario(
  'a host that dies makes its agents unreachable, not lost, and they are back with it',
  async (visit) => {
    const { page } = visit;
    const [found = ''] = await sql(`SELECT s.agent_name, n.ssh_port FROM milady_sandboxes s
      JOIN docker_nodes n USING (node_id) JOIN api_keys k USING (organization_id)
      WHERE s.node_id = 'sim-saturated' AND k.key = '${operatorKey}' LIMIT 1`);
    const [name = '', port = ''] = found.split('|');
    const answersAt = (at: string) => sql(`UPDATE docker_nodes SET ssh_port = ${at} WHERE node_id = 'sim-saturated'`);
    await visit.as(operatorKey);
    await visit.goto('/agents');
    const one = row(page, name);
    await one.getByText('Running').waitFor({ timeout: TWO_READINGS });
    // Nothing listens there: connections are refused, as by a machine that is gone.
    await answersAt('9');
    try {
      await one.getByText('Unreachable').waitFor({ timeout: TWO_READINGS });
      await seen(one, 'not charged');
      expect(await one.getByText(/lost|missing/i).count()).toBe(0);
      await visit.goto('/fleet/nodes/sim-saturated');
      await seen(page, /Does not answer/);
      await visit.goto('/agents');
    } finally {
      await answersAt(port);
    }
    await one.getByText('Running').waitFor({ timeout: TWO_READINGS });
  },
  { timeout: 3 * TWO_READINGS + 30_000 },
);

scenario('a host is edited, and the audit log says so', async (visit) => {
  const { page } = visit;
  await visit.as(operatorKey);
  await visit.goto('/fleet/nodes/sim-troubled');
  await page.getByRole('button', { name: 'Actions for sim-troubled' }).click();
  await page.getByRole('menuitem', { name: 'Edit' }).click();
  const dialog = page.getByRole('dialog', { name: 'Edit sim-troubled' });
  await dialog.getByLabel('SSH port').fill('70000');
  await dialog.getByRole('button', { name: 'Save' }).click();
  expect(await dialog.getByLabel('SSH port').evaluate((field: HTMLInputElement) => field.validity.valid)).toBe(false);
  const [port = ''] = await sql("SELECT ssh_port FROM docker_nodes WHERE node_id = 'sim-troubled'");
  await dialog.getByLabel('SSH port').fill(port);
  await dialog.getByLabel('Slots').fill('3');
  await seen(dialog, /slots are taken: it gets no new agents until there are fewer/);
  await dialog.getByLabel('Slots').fill('12');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await seen(page, 'sim-troubled is changed.');
  await dialog.waitFor({ state: 'detached' });
  await visit.goto('/audit');
  await seen(page, /sim-troubled/);
  expect(await sql("SELECT capacity FROM docker_nodes WHERE node_id = 'sim-troubled'")).toEqual(['12']);
});

scenario(
  'removing a container wants its name, and the container is gone',
  async (visit) => {
    const { page } = visit;
    await visit.as(operatorKey);
    await visit.goto('/fleet/nodes/sim-ghosts');
    const exited = page.locator('tbody', { hasText: 'Exited (137)' }).first();
    await exited.waitFor({ timeout: TWO_READINGS });
    await exited.getByRole('button', { name: /^Actions for/ }).click();
    await page.getByRole('menuitem', { name: 'Remove…' }).click();
    const ask = page.getByRole('alertdialog', { name: /^Remove milady-.* on sim-ghosts\?$/ });
    await seen(ask, 'no agent claims it');
    const button = ask.getByRole('button', { name: 'Remove', exact: true });
    expect(await button.isDisabled()).toBe(true);
    const title = (await ask.getByRole('heading').first().textContent()) ?? '';
    await ask.getByLabel(/^Type/).fill(title.split(' ')[1] ?? '');
    await button.click();
    await ask.waitFor({ state: 'hidden' });
    await exited.waitFor({ state: 'hidden', timeout: TWO_READINGS });
  },
  { timeout: 2 * TWO_READINGS },
);
