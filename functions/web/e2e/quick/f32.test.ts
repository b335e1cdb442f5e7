// F32: how earlier dashboards showed what was not so. One test per row of the table in the design (dashboard.md,
// section 4), here and in f32-actions.test.ts; the words after `f32_` name the row. Rules that are pure are tested in src/data as well:
//
//   row of the table                        test here (f32_...)               further, in src/data
//   stale first poll                        stale_first_poll
//   mergeApiData drops optimistic rows      dropped_created_row               truth.test.ts: a row that was created here
//   deleted rows kept for ever              deleted_row_kept                  truth.test.ts: a list
//   triple refresh, refresh at close        triple_refresh
//   polls for ever on errors                polls_for_ever
//   statuses rewound, double toasts         rewound_statuses                  announcer.test.ts
//   retry does not reset                    retry_without_reset               steps.test.ts
//   errors never cleared                    uncleared_error                   truth.test.ts: a list
//   revert by refetch                       revert_by_refetch                 intents.test.ts: a refusal
//   in-flight poll overwrites optimism      poll_over_optimism                intents.test.ts: an intent shows
//   older list overwrites newer detail      old_list_over_detail              truth.test.ts: a list
//   two sources, order of identifiers       order_of_rows                     generated types
//   "snapshot saved" when none was          false_success
//   created, then start refused             reason_lost_at_create
//   401 loops, page lost                    loops_on_401
//   two colour maps and formats             two_words_for_one_state           shown.test.ts
//   one error toast per failed load         toast_per_load
import { expect } from 'vitest';
import { row, seen } from '../browser';
import { change } from '../database';
import { accepted, agents, JOB, job, MINUTE, scenario } from '../moved-clock';
import { AGENTS, answer, call, count, freeze, problem } from '../traffic';

scenario(
  'f32_stale_first_poll: what begins to move is asked for at once, not after the first interval',
  async (visit) => {
    const { page, ids } = await agents(visit, 'ada');
    // The server knows nothing of the job that was made up here.
    visit.expect(404, `/jobs/${JOB.a}`);
    const lists = count(page, AGENTS);
    await answer(page, `POST /milady/agents/${ids[0]}/suspend`, accepted(JOB.a));
    await page.getByRole('button', { name: 'Stop ada' }).click();
    await expect.poll(lists, { timeout: 3_000 }).toBeGreaterThan(0);
  },
);

scenario(
  'f32_dropped_created_row: a created agent stays when a list lacks it that was computed before',
  async (visit) => {
    const { page } = await agents(visit, 'ada');
    const lists = count(page, AGENTS);
    const thaw = await freeze(page, AGENTS);
    await page.clock.fastForward(MINUTE);
    await expect.poll(lists).toBe(1);
    await page.getByRole('link', { name: 'New agent' }).click();
    await page.getByLabel('Name', { exact: true }).fill('fresh');
    await page.getByText('Start at once').click();
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await seen(page, 'fresh is created.');
    await expect.poll(lists).toBeGreaterThan(1);
    await page.waitForTimeout(300);
    await row(page, 'fresh').waitFor({ timeout: 100 });
    await thaw();
  },
);

scenario('f32_deleted_row_kept: a row that somebody else deleted goes with the next list', async (visit) => {
  const { page, owner, ids } = await agents(visit, 'ada', 'bert');
  await call(owner.key, `DELETE /milady/agents/${ids[0]}`);
  await page.clock.fastForward(MINUTE);
  await row(page, 'ada').waitFor({ state: 'detached' });
  await row(page, 'bert').waitFor();
});

scenario('f32_triple_refresh: an action asks once, and closing a dialog asks nothing', async (visit) => {
  const { page } = await agents(visit, 'ada');
  const lists = count(page, AGENTS);
  await page.getByRole('link', { name: 'New agent' }).click();
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  expect(lists()).toBe(0);
  visit.expect(409, '/suspend');
  await answer(page, 'POST /milady/agents/', problem(409, 'Not now'));
  await page.getByRole('button', { name: 'Stop ada' }).click();
  await seen(row(page, 'ada'), 'Not now');
  await page.waitForTimeout(1_000);
  expect(lists()).toBe(1);
});

scenario(
  'f32_polls_for_ever: a 404 is asked for once, five failures in a row end in an error to try again',
  async (visit) => {
    const { page } = await agents(visit, 'ada');
    visit.expect(404, '/milady/agents/');
    visit.expect(500, '/milady/agents');
    const absent = '00000000-0000-4000-8000-000000000000';
    const ones = count(page, `GET /milady/agents/${absent}$`);
    await visit.goto(`/agents/${absent}`);
    await seen(page, 'This agent was not found');
    const asked = ones();
    for (let i = 0; i < 5; i += 1) await page.clock.fastForward(MINUTE);
    expect(ones()).toBe(asked);

    await visit.goto('/agents');
    const lists = count(page, AGENTS);
    const stop = await answer(page, AGENTS, problem(500, 'Broken'));
    for (let i = 0; i < 20; i += 1) {
      await page.clock.fastForward(MINUTE);
      await page.waitForTimeout(50);
    }
    expect(lists()).toBe(5);
    await stop();
    const again = page.getByRole('button', { name: 'Try again' }).first();
    await again.click();
    await expect.poll(lists).toBe(6);
    await again.waitFor({ state: 'detached' });
    await seen(page, /^as of/);
    await page.clock.fastForward(MINUTE);
    await expect.poll(lists).toBe(7);
  },
);

scenario('f32_rewound_statuses: one change is told once, whatever page is opened meanwhile', async (visit) => {
  const { page, ids } = await agents(visit, 'ada');
  const id = ids[0] ?? '';
  await change(id, "status = 'provisioning'");
  await page.clock.fastForward(MINUTE);
  await seen(row(page, 'ada'), 'Starting');
  await change(id, "status = 'running'");
  await page.clock.fastForward(MINUTE);
  const toasts = page.locator('#toasts').getByText('ada is running.');
  await toasts.waitFor();
  expect(await toasts.count()).toBe(1);
  await page.locator('#toasts').getByRole('button', { name: 'Close' }).click();
  await row(page, 'ada').getByRole('link', { name: 'ada', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'ada' }).waitFor();
  await page.getByRole('link', { name: 'Agents', exact: true }).click();
  await page.clock.fastForward(MINUTE);
  await row(page, 'ada').waitFor();
  await page.waitForTimeout(300);
  expect(await toasts.count()).toBe(0);
});

scenario(
  'f32_retry_without_reset: a retry shows the new job, and a second creation nothing of the first',
  async (visit) => {
    const { page } = await agents(visit);
    await answer(page, 'POST /milady/agents/', accepted(JOB.a));
    await answer(page, `GET /jobs/${JOB.a}`, job(JOB.a, 'pull', 'The image could not be pulled: not found'));
    await answer(page, `GET /jobs/${JOB.b}`, job(JOB.b, 'database'));
    await visit.goto('/agents/new');
    const dialog = page.getByRole('dialog', { name: 'New agent' });
    await dialog.getByLabel('Name', { exact: true }).fill('first');
    await dialog.getByRole('button', { name: 'Create and start' }).click();
    await seen(dialog, 'first could not be started.');
    await seen(dialog, 'The image could not be pulled: not found');
    await answer(page, 'POST /milady/agents/', accepted(JOB.b));
    await dialog.getByRole('button', { name: 'Try again' }).click();
    await seen(dialog, 'Creating its database');
    expect(await dialog.getByText('could not be pulled').count()).toBe(0);
    await page.waitForURL(new RegExp(JOB.b));
    await dialog.getByRole('button', { name: 'Close', exact: true }).click();
    await page.getByRole('link', { name: 'New agent' }).click();
    await dialog.getByLabel('Name', { exact: true }).waitFor();
    expect(await dialog.getByLabel('Name', { exact: true }).inputValue()).toBe('');
    expect(await dialog.getByRole('list').count()).toBe(0);
  },
);

scenario('f32_uncleared_error: an error that the server has cleared is cleared here', async (visit) => {
  const { page, ids } = await agents(visit, 'ada');
  const id = ids[0] ?? '';
  await change(id, "status = 'error', error_message = 'It broke'");
  await page.clock.fastForward(MINUTE);
  await seen(row(page, 'ada'), 'Failed');
  await seen(row(page, 'ada'), 'It broke');
  await change(id, "status = 'running', error_message = NULL");
  await page.clock.fastForward(MINUTE);
  await seen(row(page, 'ada'), 'Running');
  expect(await row(page, 'ada').getByText('It broke').count()).toBe(0);
});
