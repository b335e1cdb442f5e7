// Every designed state of a page, in both themes: no serious violation, and it says what it must.
import { expect } from 'vitest';
import { overflow, violations } from '../axe';
import { row, seen, type Visit } from '../browser';
import { agent, change, member, switchOff } from '../database';
import { scenario } from '../scenario';
import { AGENTS, answer, problem } from '../traffic';

async function check({ page }: Visit): Promise<void> {
  expect(await violations(page, 'light')).toBe('');
  expect(await violations(page, 'dark')).toBe('');
}

const id = '00000000-0000-4000-8000-000000000000';

scenario('loading', async (visit) => {
  const { page } = visit;
  await visit.as((await member()).key);
  await page.route('**/api/v1/milady/agents?*', () => {});
  await page.goto(visit.url('/agents'));
  await page.locator('main [aria-busy="true"]').first().waitFor();
  await page.waitForTimeout(300);
  await check(visit);
});

scenario('empty', async (visit) => {
  await visit.as((await member()).key);
  await visit.goto('/agents');
  await seen(visit.page, 'No agents yet');
  await check(visit);
});

scenario('nothing found, and back to everything', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await agent(owner, 'ada');
  await visit.as(owner.key);
  await visit.goto('/agents?q=nobody');
  await seen(page, 'No agent is like that');
  await check(visit);
  await page.getByRole('button', { name: 'Show all agents' }).click();
  await row(page, 'ada').waitFor();
});

scenario('failed, with the request to quote', async (visit) => {
  const { page } = visit;
  await visit.as((await member()).key);
  visit.expect(400, '/milady/agents');
  await answer(page, AGENTS, problem(400, 'It broke'));
  await page.goto(visit.url('/agents'));
  await seen(page, 'It broke');
  await page.getByRole('button', { name: "Copy the request's identifier" }).waitFor();
  await check(visit);
});

scenario(
  'old, and offline',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    await agent(owner, 'ada');
    await visit.as(owner.key);
    await visit.goto('/agents');
    visit.expect(503, '/api/v1/');
    visit.expect('net::ERR_INTERNET_DISCONNECTED', '/');
    await answer(page, 'GET /', problem(503, 'Busy'));
    await page.clock.fastForward(61_000);
    await seen(page, /Last answer/);
    await check(visit);
    await visit.context.setOffline(true);
    await seen(page, 'This device is offline.');
    await check(visit);
  },
  { clock: 0 },
);

scenario('gone, and forbidden', async (visit) => {
  const { page } = visit;
  await visit.as((await member()).key);
  visit.expect(404, '/milady/agents/');
  await visit.goto(`/agents/${id}`);
  await seen(page, 'This agent was not found');
  await check(visit);
  await visit.goto('/fleet');
  await seen(page, 'Only operators may see this');
  await check(visit);
});

scenario('each state of an agent, in the list and on its page', async (visit) => {
  const { page } = visit;
  const owner = await member({ balance: 1 });
  const states = {
    'Not started': "status = 'pending'",
    Starting: "status = 'provisioning'",
    'silent for': "status = 'running', last_heartbeat_at = now() - interval '20 minutes'",
    Unreachable: "status = 'disconnected'",
    Failed: "status = 'error', error_message = 'The image could not be pulled: not found'",
    Suspended: "status = 'stopped', billing_status = 'suspended'",
    'Stops in': "billing_status = 'shutdown_pending', scheduled_shutdown_at = now() + interval '31 hours'",
  };
  await visit.as(owner.key);
  visit.expect(404, '/logs');
  for (const [word, assignments] of Object.entries(states)) {
    const one = await agent(owner, `is ${word}`);
    await change(one, assignments);
    await visit.goto(`/agents/${one}`);
    await check(visit);
  }
  await visit.goto('/agents');
  for (const word of Object.keys(states)) await seen(row(page, `is ${word}`), word);
  await check(visit);
});

scenario('refused, in the row and on the page', async (visit) => {
  const { page } = visit;
  const owner = await member({ balance: 1 });
  const one = await agent(owner, 'broke', 'stopped');
  await visit.as(owner.key);
  visit.expect(402, '/resume');
  for (const path of ['/agents', `/agents/${one}`]) {
    await visit.goto(path);
    await page.getByRole('button', { name: /^Start/ }).click();
    await seen(page, /Add \$4\.00/);
    await check(visit);
  }
  await visit.goto('/agents/new');
  await seen(page, /Add \$4\.00/);
  await check(visit);
});

scenario('asked whether to delete, a menu, the palette, and session over', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const one = await agent(owner, 'ada', 'stopped');
  await visit.as(owner.key);
  await visit.goto(`/agents/${one}/settings`);
  await page.getByRole('button', { name: 'Delete this agent…' }).click();
  await page.getByRole('alertdialog').waitFor();
  await check(visit);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'More for ada' }).click();
  await page.getByRole('menu').waitFor();
  await check(visit);
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').waitFor();
  await check(visit);
  await page.keyboard.press('Escape');
  await switchOff(owner.key);
  visit.expect(401, '/api/v1/');
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await page.getByRole('alertdialog', { name: 'Your session has ended' }).waitFor();
  await check(visit);
});

scenario(
  'on a phone a long status begins where its card does, and long names and reasons fit',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    const drained = await agent(owner, 'moved', 'stopped');
    await change(drained, "stop_reason = 'drain'");
    await agent(owner, 'W'.repeat(100));
    await change(await agent(owner, 'broken', 'error'), `error_message = '${'reason'.repeat(40)}'`);
    await visit.as(owner.key);
    await visit.goto('/agents');
    const one = row(page, 'moved');
    await seen(one, 'while an operator moves or updates it');
    const left = (card: string) =>
      one.locator(`td[data-card="${card}"]`).evaluate((cell) => Math.round(cell.getBoundingClientRect().left));
    expect(await left('aside')).toBe(await left('title'));
    for (const path of ['/agents', `/agents/${drained}`]) {
      await visit.goto(path);
      expect(await overflow(page), `${path} is wider than the window`).toBeLessThanOrEqual(0);
    }
    await seen(page, 'It was stopped so that an operator can move or update it.');
  },
  { width: 320, height: 700 },
);

scenario('a page that opens without a network says so instead of loading for ever', async (visit) => {
  const { page, context } = visit;
  await visit.as((await member()).key);
  await visit.goto('/agents');
  // The parts of the other pages are fetched once this one has come to rest.
  await page.waitForLoadState('networkidle');
  await page.waitForTimeout(3_000);
  await page.waitForLoadState('networkidle');
  visit.expect('net::ERR_INTERNET_DISCONNECTED', '/');
  await context.setOffline(true);
  await page.getByRole('link', { name: 'Credits', exact: true }).click();
  await seen(page, 'This is loaded once the device is online again.');
  await check(visit);
});
