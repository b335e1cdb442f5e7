// What the server refuses, what something in front of it answers, and no network at all.
import { expect } from 'vitest';
import { row, seen } from '../browser';
import { agent, member, sql } from '../database';
import { scenario } from '../scenario';
import { AGENTS, answer, count, problem } from '../traffic';

scenario('a stop that is refused is taken back visibly, with the reason of the server', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const id = await agent(owner, 'busy');
  await visit.as(owner.key);
  await visit.goto('/agents');
  const one = row(page, 'busy');
  await seen(one, 'Running');
  // A start that somebody else asked for after the page was loaded.
  await sql(`INSERT INTO jobs (type, status, data, organization_id, user_id, started_at)
    VALUES ('milady_provision', 'in_progress', jsonb_build_object('agentId', '${id}'), '${owner.organization}',
      '${owner.user}', now())`);
  visit.expect(409, `/agents/${id}/suspend`);
  await page.getByRole('button', { name: 'Stop busy' }).click();
  await seen(one, /Not stopped\.\s*Agent provisioning is in progress/);
  await one.getByRole('button', { name: 'Copy the request' }).waitFor();
  expect(await one.getByText('Stopping').count()).toBe(0);
  await sql(`UPDATE jobs SET status = 'failed', completed_at = now() WHERE data ->> 'agentId' = '${id}'`);
});

scenario('an action is shown within a frame, while the server has not answered', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await agent(owner, 'slow');
  await visit.as(owner.key);
  await visit.goto('/agents');
  await page.route('**/suspend', () => {});
  await page.getByRole('button', { name: 'Stop slow' }).click();
  await row(page, 'slow').getByText('Stopping').waitFor({ timeout: 1_000 });
});

scenario(
  'offline: refused at once, nothing is sent later, and the page goes on when the network is back',
  async (visit) => {
    const { page, context } = visit;
    const owner = await member();
    await agent(owner, 'ada');
    await visit.as(owner.key);
    await visit.goto('/agents');
    await row(page, 'ada').waitFor();
    const stops = count(page, 'POST /milady/agents/');
    visit.expect('net::ERR_INTERNET_DISCONNECTED', '/api/v1/');
    await context.setOffline(true);
    await seen(page, 'This device is offline.');
    await page.getByRole('button', { name: 'Stop ada' }).click();
    await seen(row(page, 'ada'), 'This device is offline. Nothing was sent.');
    await seen(row(page, 'ada'), 'Running');
    const tried = stops();
    // By now the page would have fetched its other parts.
    await page.waitForTimeout(2_000);
    expect(await page.getByText('A new version').count()).toBe(0);
    await context.setOffline(false);
    await page.getByText('This device is offline.', { exact: true }).waitFor({ state: 'detached' });
    await seen(page, /^as of/);
    expect(stops()).toBe(tried);
    await seen(row(page, 'ada'), 'Running');
  },
);

/** What a gateway, a proxy or a sign-in page of a network says, none of it in the form of the API. */
const FOREIGN = [
  ['the 503 of the gateway', { status: 503, body: '<html>Service Unavailable</html>' }, 'HTTP 503'],
  ['the 429 of the gateway', { status: 429, body: '{"message":null}', type: 'application/json' }, 'HTTP 429'],
  ['an empty 502', { status: 502, body: '' }, 'HTTP 502'],
  ['a login page with 200', { status: 200, body: '<html><form>Log in</form></html>' }, 'something else answered'],
] as const;

for (const [name, given, words] of FOREIGN)
  scenario(
    `${name} makes a page old, not empty, and says why`,
    async (visit) => {
      const { page } = visit;
      const owner = await member();
      await agent(owner, 'ada');
      await visit.as(owner.key);
      await visit.goto('/agents');
      await row(page, 'ada').waitFor();
      visit.expect(given.status, '/api/v1/');
      const stop = await answer(page, AGENTS, given);
      await page.clock.fastForward(61_000);
      await seen(page, new RegExp(`Last answer .* ago: ${words}`));
      await row(page, 'ada').waitFor();
      await page.locator('[data-old]').first().waitFor();
      await stop();
      for (let i = 0; i < 5; i += 1) await page.clock.fastForward(11_000);
      await seen(page, /^as of/);
    },
    { clock: 0 },
  );

scenario(
  'a first load that something else answers says so, and can be tried again',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    await agent(owner, 'ada');
    await visit.as(owner.key);
    const stop = await answer(page, AGENTS, { status: 200, body: '<html>login</html>' });
    await page.goto(visit.url('/agents'));
    for (let i = 0; i < 6; i += 1) await page.clock.fastForward(11_000);
    await seen(page, 'This could not be loaded');
    await seen(page, /Something between this page and the API answered/);
    await stop();
    await page.getByRole('button', { name: 'Try again' }).click();
    await row(page, 'ada').waitFor();
  },
  { clock: 0 },
);

scenario('a redirect to a login page is no answer of the API', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await agent(owner, 'ada');
  await visit.as(owner.key);
  await visit.goto('/agents');
  await answer(page, 'POST /milady/agents/', { status: 302, body: '', headers: { location: '/sign-in' } });
  await page.getByRole('button', { name: 'Stop ada' }).click();
  const words = /It is not known whether this was done\..*(Something between this page and the API|cannot be reached)/;
  await seen(row(page, 'ada'), words);
  await seen(row(page, 'ada'), 'Running');
});

scenario('a 413 and field errors leave the form as it was typed', async (visit) => {
  const { page } = visit;
  await visit.as((await member()).key);
  await visit.goto('/agents/new');
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name', { exact: true }).fill('large');
  visit.expect(413, '/api/v1/milady/agents');
  visit.expect(400, '/api/v1/milady/agents');
  const stop = await answer(page, 'POST /milady/agents$', { status: 413, body: '{"message":"Request Too Long"}' });
  await dialog.getByRole('button', { name: 'Create and start' }).click();
  await seen(dialog, /Not created\./);
  await seen(dialog, /too large|Too Long/i);
  await stop();
  const fields = { details: [{ field: 'agentName', message: 'must be one line' }] };
  await answer(page, 'POST /milady/agents$', problem(400, 'The request body is not valid', fields));
  await dialog.getByRole('button', { name: 'Create and start' }).click();
  await seen(dialog, 'must be one line');
  expect(await dialog.getByLabel('Name', { exact: true }).inputValue()).toBe('large');
});

scenario('a limit that is reached says how much of it is used, and when it is possible again', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const id = await agent(owner, 'eager', 'stopped');
  await visit.as(owner.key);
  visit.expect(429, `/agents/${id}/resume`);
  visit.expect(409, '/api/v1/milady/agents');
  await visit.goto('/agents');
  const text = 'Starts of an agent are limited to 10 an hour; please try again later';
  const starts = problem(429, text, { limit: 'startsPerAgentAndHour', used: 10, allowed: 10 });
  await answer(page, `POST /milady/agents/${id}/resume`, { ...starts, headers: { 'retry-after': '3000' } });
  await page.getByRole('button', { name: 'Start eager' }).click();
  await seen(row(page, 'eager'), `Not started. ${text}`);
  await seen(row(page, 'eager'), /10 of 10 used, possible again at \S/);
  await visit.goto('/agents/new');
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name', { exact: true }).fill('one too many');
  const many = 'Agents are limited to 200 per organization; delete one first';
  await answer(page, 'POST /milady/agents$', problem(409, many, { limit: 'agents', used: 200, allowed: 200 }));
  await dialog.getByRole('button', { name: 'Create and start' }).click();
  await seen(dialog, `Not created. ${many}`);
  await seen(dialog, /200 of 200 used\./);
  await dialog.getByRole('link', { name: 'See the limits' }).click();
  await seen(page, /below its limits/);
});

scenario('names of 100 characters in any script are shown whole somewhere, and never as HTML', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const names = [
    '名'.repeat(100),
    'مرحبا '.repeat(16).trim(),
    `<img src=x onerror=alert(1)>${'&amp;'.repeat(10)}`,
    'W'.repeat(100),
    '👩‍👩‍👧‍👦'.repeat(9),
  ];
  for (const name of names) await agent(owner, name, 'stopped');
  await visit.as(owner.key);
  await visit.goto('/agents');
  for (const name of names) await page.getByRole('link', { name, exact: true }).waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
  await page.getByRole('link', { name: names[2] ?? '', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: names[2] ?? '', exact: true }).waitFor();
});

scenario('what does not exist says so: an agent, a page, an address of the API', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const stranger = await agent(await member(), 'of somebody else');
  await visit.as(owner.key);
  visit.expect(404, '/');
  for (const id of ['00000000-0000-4000-8000-000000000000', stranger]) {
    await visit.goto(`/agents/${id}`);
    await seen(page, 'This agent was not found');
    expect(await page.getByText('of somebody else').count()).toBe(0);
  }
  await visit.goto('/no/such/page');
  await seen(page, 'There is no page at this address');
  const api = await page.evaluate(async () => {
    const response = await fetch('/api/v1/nothing');
    return [response.status, response.headers.get('content-type')];
  });
  expect(api).toEqual([404, 'application/json']);
});
