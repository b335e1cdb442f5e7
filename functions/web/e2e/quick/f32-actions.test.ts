// F32, the second half of the table in f32.test.ts: actions, refusals and sessions.
import { expect } from 'vitest';
import { row, seen } from '../browser';
import { change, sql, switchOff } from '../database';
import { agents, MINUTE, scenario } from '../moved-clock';
import { AGENTS, answer, call, count, hold, lose, problem } from '../traffic';

scenario('f32_revert_by_refetch: a refusal takes back what was shown without asking, also offline', async (visit) => {
  const { page } = await agents(visit, 'ada');
  visit.expect('net::ERR_INTERNET_DISCONNECTED', '/api/v1/');
  const lists = count(page, AGENTS);
  await visit.context.setOffline(true);
  await seen(page, 'This device is offline.');
  await page.getByRole('button', { name: 'Stop ada' }).click();
  await seen(row(page, 'ada'), 'Not stopped.');
  await row(page, 'ada').getByText('Running').waitFor({ timeout: 500 });
  expect(lists()).toBe(0);
  await visit.context.setOffline(false);
});

scenario(
  'f32_poll_over_optimism: an answer that was asked for before the action does not overwrite it',
  async (visit) => {
    const { page, ids } = await agents(visit, 'ada');
    const before = await hold(page, AGENTS);
    await page.clock.fastForward(MINUTE);
    await before.asked;
    const stop = await hold(page, 'POST /milady/agents/');
    await page.getByRole('button', { name: 'Stop ada' }).click();
    await seen(row(page, 'ada'), 'Stopping');
    await before.release();
    await page.waitForTimeout(500);
    await row(page, 'ada').getByText('Stopping').waitFor({ timeout: 100 });
    await change(ids[0] ?? '', "status = 'running'");
    await stop.release();
    await seen(row(page, 'ada'), 'Running');
  },
);

scenario(
  'f32_old_list_over_detail: a list that was asked for earlier does not overwrite what is newer',
  async (visit) => {
    const { page, ids } = await agents(visit, 'ada');
    const late = await hold(page, AGENTS);
    await page.clock.fastForward(MINUTE);
    await late.asked;
    await change(ids[0] ?? '', "status = 'error', error_message = 'It broke'");
    await row(page, 'ada').getByRole('link', { name: 'ada', exact: true }).click();
    await seen(page, 'It broke');
    await late.release();
    await page.waitForTimeout(500);
    await seen(page, 'It broke');
    await page.getByRole('link', { name: 'Agents', exact: true }).click();
    await seen(row(page, 'ada'), 'Failed');
  },
);

scenario('f32_order_of_rows: the same rows in another order change nothing', async (visit) => {
  const { page, owner } = await agents(visit, 'ada', 'bert', 'cleo');
  const names = () => page.locator('tbody a[title]').allTextContents();
  const before = await names();
  const list = await call<{ data: { id: string }[] }>(owner.key, 'GET /milady/agents');
  await answer(page, AGENTS, { status: 200, body: { ...list, data: list.data.toReversed() } });
  const lists = count(page, AGENTS);
  await page.clock.fastForward(MINUTE);
  await expect.poll(lists).toBe(1);
  await page.waitForTimeout(300);
  expect(await names()).toEqual(before);
  expect(before).toHaveLength(3);
  expect(await page.locator('#toasts').textContent()).toBe('');
});

scenario('f32_false_success: nothing is said to be saved that was not', async (visit) => {
  const { page } = await agents(visit, 'ada');
  visit.expect(502, '/snapshot');
  await answer(page, 'POST /milady/agents/', problem(502, 'The agent did not answer'));
  await row(page, 'ada').getByRole('button', { name: 'More for ada' }).click();
  await page.getByRole('menuitem', { name: 'Save its state' }).click();
  await seen(row(page, 'ada'), /State not saved\.\s*The agent did not answer/);
  expect(await page.locator('#toasts').textContent()).toBe('');
});

scenario(
  'f32_reason_lost_at_create: created, then not started: the dialog stays with the reason, the agent too',
  async (visit) => {
    const { page } = await agents(visit);
    visit.expect(402, '/provision');
    const payment = { requiredBalance: 5, currentBalance: 1.8 };
    await answer(page, 'POST /milady/agents/', problem(402, 'Insufficient credit', payment));
    await visit.goto('/agents/new');
    const dialog = page.getByRole('dialog', { name: 'New agent' });
    await dialog.getByLabel('Name', { exact: true }).fill('unpaid');
    await dialog.getByRole('button', { name: 'Create and start' }).click();
    await seen(dialog, 'Add $3.20: this needs $5.00, and there is $1.80.');
    await seen(dialog, 'is created, but it was not started.');
    await dialog
      .getByRole('button', { name: /^Close/ })
      .last()
      .click();
    await seen(row(page, 'unpaid'), /Add \$3\.20/);
  },
);

scenario('f32_created_twice: a form that is sent again after an error of the server makes one agent', async (visit) => {
  const { page, owner } = await agents(visit);
  visit.expect(500, '/api/v1/milady/agents');
  await visit.goto('/agents/new');
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name', { exact: true }).fill('only one');
  await dialog.getByText('Start at once').click();
  const create = dialog.getByRole('button', { name: 'Create', exact: true });
  const restore = await lose(page, 'POST /milady/agents$', problem(500, 'Something went wrong on our side'));
  await create.click();
  await seen(dialog, /It is not known whether this was done\.\s*Something went wrong on our side/);
  await restore();
  await create.click();
  await seen(page, 'only one is created.');
  await row(page, 'only one').waitFor();
  expect(await sql(`SELECT agent_name FROM milady_sandboxes WHERE organization_id = '${owner.organization}'`)).toEqual([
    'only one',
  ]);
});

scenario('f32_loops_on_401: one question confirms the end of the session, then nothing is asked', async (visit) => {
  const { page, owner } = await agents(visit, 'ada');
  await switchOff(owner.key);
  visit.expect(401, '/api/v1/');
  const sessions = count(page, 'GET /session');
  const all = count(page, 'GET /');
  await page.clock.fastForward(MINUTE);
  await page.getByRole('alertdialog', { name: 'Your session has ended' }).waitFor();
  await page.waitForTimeout(500);
  expect(sessions()).toBe(1);
  const asked = all();
  for (let i = 0; i < 10; i += 1) await page.clock.fastForward(MINUTE);
  await page.waitForTimeout(500);
  expect(all()).toBe(asked);
  // Below the dialog, where roles are not seen.
  await seen(page.locator('tbody', { hasText: 'ada' }), 'Running');
});

scenario('f32_two_words_for_one_state: the list, the page and its tab say the same of an agent', async (visit) => {
  const { page, ids } = await agents(visit, 'ada', 'bert', 'cleo');
  await change(ids[0] ?? '', "status = 'disconnected'");
  await change(ids[1] ?? '', "status = 'error', error_message = 'It broke'");
  await change(ids[2] ?? '', "last_heartbeat_at = now() - interval '17 minutes'");
  for (const [index, name] of ['ada', 'bert', 'cleo'].entries()) {
    await visit.goto('/agents');
    const listed = row(page, name).locator('td').nth(1);
    const words = await listed.textContent();
    await visit.goto(`/agents/${ids[index]}`);
    const shown = page.locator('h1 + p');
    expect(await shown.textContent()).toBe(words);
    expect(await page.title()).toBe(`${name} - Milady Cloud`);
  }
});

scenario('f32_toast_per_load: a load that fails is one state of the page, and no toast each time', async (visit) => {
  const { page } = await agents(visit, 'ada');
  visit.expect(503, '/api/v1/');
  await answer(page, 'GET /', problem(503, 'Busy'));
  for (let i = 0; i < 12; i += 1) {
    await page.clock.fastForward(11_000);
    await page.waitForTimeout(30);
  }
  await seen(page, /Last answer .* ago: HTTP 503/);
  expect(await page.locator('#toasts').textContent()).toBe('');
});
