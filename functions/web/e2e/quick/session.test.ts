// Signing in and out, sessions that end, and what callers may see.
import { expect, inject } from 'vitest';
import { loaded, row, seen } from '../browser';
import { agent, anotherKey, change, member, switchOff } from '../database';
import { addresses } from '../pages';
import { scenario } from '../scenario';
import { AGENTS, answer, call, count, hold, problem } from '../traffic';

const keyField = 'API key';

scenario('sign in leads to where one wanted to go, and sign out back', async (visit) => {
  const { page } = visit;
  const owner = await member();
  visit.secret(owner.key);
  await agent(owner, 'ada');
  await page.goto(visit.url('/agents?status=running'));
  await page.waitForURL(/\/sign-in\?next=/);
  await page.getByLabel(keyField, { exact: true }).fill(owner.key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(/\/agents\?status=running$/);
  await row(page, 'ada').waitFor();
  expect(await page.title()).toBe('Agents - Milady Cloud');
  await page.reload();
  await row(page, 'ada').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(/\/sign-in/);
  await page.goto(visit.url('/agents'));
  await page.getByLabel(keyField, { exact: true }).waitFor();
  expect(await page.getByText('ada').count()).toBe(0);
});

scenario('a key that is not valid is refused with words, and stays out of the address', async (visit) => {
  const { page } = visit;
  await page.goto(visit.url('/sign-in'));
  const wrong = `eliza_${'0'.repeat(64)}`;
  visit.secret(wrong);
  await page.getByLabel(keyField, { exact: true }).fill(wrong);
  await page.keyboard.press('Enter');
  await seen(page, 'This key is not valid.');
  expect(new URL(page.url()).search).toBe('');
  await page.getByLabel(keyField, { exact: true }).fill('');
});

scenario('an address of another site is no place to go after signing in', async (visit) => {
  const { page } = visit;
  await visit.as((await member()).key);
  for (const next of ['https://example.com/', '//example.com', '/\\example.com', 'javascript:alert(1)']) {
    await page.goto(visit.url(`/sign-in?next=${encodeURIComponent(next)}`));
    await page.waitForURL(/\/agents$/);
  }
});

scenario('a server without sessions says so', async (visit) => {
  const { page } = visit;
  visit.expect(503, '/session');
  await page.goto(visit.url('/sign-in'));
  await answer(page, 'POST /session', problem(503, 'Sessions are not configured'));
  await page.getByLabel(keyField, { exact: true }).fill('anything');
  await page.keyboard.press('Enter');
  await seen(page, 'Sessions are not set up on this server');
});

scenario('a key that is switched off ends the session, and a half-filled form goes on', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await visit.as(owner.key);
  await visit.goto('/agents/new');
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name', { exact: true }).fill('half filled');
  await dialog.getByRole('button', { name: 'Add a variable' }).click();
  await dialog.getByLabel('Name of variable 1').fill('TOKEN');
  await dialog.getByLabel('Value of variable 1').fill('a-value-of-mine');
  visit.secret('a-value-of-mine');
  await dialog.getByText('Start at once').click();
  await switchOff(owner.key);
  visit.expect(401, '/api/v1/');
  await dialog.getByRole('button', { name: 'Create', exact: true }).click();
  const over = page.getByRole('alertdialog', { name: 'Your session has ended' });
  await over.waitFor();
  const key = await anotherKey(owner);
  visit.secret(key);
  await over.getByLabel(keyField, { exact: true }).fill(key);
  await over.getByRole('button', { name: 'Continue' }).click();
  await over.waitFor({ state: 'detached' });
  expect(await dialog.getByLabel('Name', { exact: true }).inputValue()).toBe('half filled');
  expect(await dialog.getByLabel('Value of variable 1').inputValue()).toBe('a-value-of-mine');
  await dialog.getByRole('button', { name: 'Create', exact: true }).click();
  await seen(page, 'half filled is created.');
  await row(page, 'half filled').waitFor();
});

scenario('somebody else who signs in over an ended session sees nothing of the first', async (visit) => {
  const { page } = visit;
  const [first, second] = [await member(), await member()];
  await agent(first, 'of the first');
  await agent(second, 'of the second');
  await visit.as(first.key);
  await visit.goto('/agents');
  await row(page, 'of the first').waitFor();
  await switchOff(first.key);
  visit.expect(401, '/api/v1/');
  await page.getByRole('button', { name: 'Stop of the first' }).click();
  const over = page.getByRole('alertdialog', { name: 'Your session has ended' });
  visit.secret(second.key);
  await over.getByLabel(keyField, { exact: true }).fill(second.key);
  await page.keyboard.press('Enter');
  await row(page, 'of the second').waitFor();
  expect(await page.getByText('of the first').count()).toBe(0);
});

scenario('an operator without a wallet is told that only operators may see a page', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await visit.as(owner.key);
  await visit.goto('/agents');
  expect(await page.getByRole('list', { name: 'For operators' }).count()).toBe(0);
  for (const path of addresses('operators')) {
    await visit.goto(path);
    await seen(page, 'Only operators may see this');
    expect(await page.getByText('Your session has ended').count()).toBe(0);
  }
});

scenario('an operator whose right is withdrawn under an open page keeps the session', async (visit) => {
  const { page } = visit;
  await visit.as(inject('stack').operatorKey);
  visit.expect(403, '/api/v1/admin/');
  await answer(page, 'GET /admin/docker-nodes', problem(403, 'Only administrators may do this'));
  await visit.goto('/fleet');
  await seen(page, /You are not allowed to see this|Only administrators may do this/);
  expect(await page.getByText('Your session has ended').count()).toBe(0);
});

scenario('two tabs: signing out in one ends the session of the other, and signing in goes on there', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await agent(owner, 'ada');
  await visit.as(owner.key);
  await visit.goto('/agents');
  const other = await visit.tab('/agents');
  visit.expect(401, '/api/v1/');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(/\/sign-in/);
  await other.getByRole('alertdialog', { name: 'Your session has ended' }).waitFor();
  await page.getByLabel(keyField, { exact: true }).fill(owner.key);
  await page.keyboard.press('Enter');
  await row(page, 'ada').waitFor();
  await other.getByText('Your session has ended').first().waitFor({ state: 'detached' });
  await row(other, 'ada').waitFor();
});

scenario(
  'two tabs: after the session has ended, signing in in one asks for everything again in the other',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    const id = await agent(owner, 'ada');
    await visit.as(owner.key);
    await visit.goto('/agents');
    await row(page, 'ada').waitFor();
    await switchOff(owner.key);
    visit.expect(401, '/api/v1/');
    await page.clock.fastForward(61_000);
    await page.getByRole('alertdialog', { name: 'Your session has ended' }).waitFor();
    await change(id, "status = 'stopped'");
    const other = await visit.tab('/agents');
    const key = await anotherKey(owner);
    visit.secret(key);
    await other.getByLabel(keyField, { exact: true }).fill(key);
    await other.keyboard.press('Enter');
    await page.getByText('Your session has ended').first().waitFor({ state: 'detached' });
    // Long before the next minute.
    await seen(row(page, 'ada'), 'Stopped', 10_000);
    await seen(page, /^as of/);
  },
  { clock: 0 },
);

scenario('two tabs: who signs in in one as somebody else gets nothing of the first in the other', async (visit) => {
  const { page } = visit;
  const [first, second] = [await member(), await member()];
  await agent(first, 'of the first');
  await agent(second, 'of the second');
  await visit.as(first.key);
  await visit.goto('/agents');
  await row(page, 'of the first').waitFor();
  await page.getByRole('link', { name: 'Settings', exact: true }).click();
  const address = page.getByLabel('Billing address');
  await address.fill('first@example.com');
  const other = await visit.tab('/agents');
  visit.expect(401, '/api/v1/');
  await other.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('alertdialog', { name: 'Your session has ended' }).waitFor();
  visit.secret(second.key);
  await other.getByLabel(keyField, { exact: true }).fill(second.key);
  await other.keyboard.press('Enter');
  await page.getByText('Your session has ended').first().waitFor({ state: 'detached' });
  await seen(page, second.name);
  expect(await address.inputValue()).toBe('');
  expect(await page.getByRole('button', { name: 'Save' }).isDisabled()).toBe(true);
  const list = await hold(page, AGENTS);
  await page.getByRole('link', { name: 'Agents', exact: true }).click();
  await list.asked;
  expect(await page.getByText('of the first').count()).toBe(0);
  await list.release();
  await row(page, 'of the second').waitFor();
  expect(await page.getByText('of the first').count()).toBe(0);
});

scenario('two tabs: what is done in one is seen in the other, without waiting for the next minute', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await agent(owner, 'ada', 'stopped');
  await visit.as(owner.key);
  await visit.goto('/agents');
  const other = await visit.tab('/agents');
  await page.goto(visit.url('/agents/new'));
  await page.getByLabel('Name', { exact: true }).fill('from the first tab');
  await page.getByText('Start at once').click();
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await row(other, 'from the first tab').waitFor({ timeout: 5_000 });
});

scenario(
  'a tab that slept a night asks for the newest once, and says what became of the session',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    const id = await agent(owner, 'sleeper');
    await visit.as(owner.key);
    await visit.goto('/agents');
    await row(page, 'sleeper').waitFor();
    const lists = count(page, AGENTS);
    await call(owner.key, `DELETE /milady/agents/${id}`);
    await page.clock.fastForward('09:00:00');
    await row(page, 'sleeper').waitFor({ state: 'detached' });
    await loaded(page);
    expect(lists()).toBeLessThanOrEqual(2);
  },
  { clock: 0 },
);

scenario(
  'a browser clock that is an hour ahead makes nothing older than it is',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    await agent(owner, 'young', 'stopped');
    await visit.as(owner.key);
    await visit.goto('/agents');
    const text = await row(page, 'young').textContent();
    expect(text).toMatch(/now|\d+ s/);
    expect(text).not.toMatch(/1 h|6\d min/);
  },
  { clock: 60 },
);
