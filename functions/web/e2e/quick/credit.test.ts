// Too little credit: at each place where it matters, what to add.
import { expect } from 'vitest';
import { row, seen } from '../browser';
import { agent, change, member, setBalance } from '../database';
import { scenario } from '../scenario';

const ADD = /Add \$4\.00: this needs \$5\.00, and there is \$1\.00\./;

scenario('402 at create: the form says what to add before anything is created', async (visit) => {
  const { page } = visit;
  await visit.as((await member({ balance: 1 })).key);
  await visit.goto('/agents/new');
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByText(ADD).waitFor();
  await dialog.getByLabel('Name', { exact: true }).fill('kept');
  expect(await dialog.getByRole('button', { name: 'Create and start' }).isDisabled()).toBe(true);
  expect(await dialog.getByLabel('Name', { exact: true }).inputValue()).toBe('kept');
});

scenario('402 at create: when the credit went meanwhile, the dialog stays and says what to add', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await visit.as(owner.key);
  await visit.goto('/agents/new');
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name', { exact: true }).fill('too late');
  await setBalance(owner, 1);
  visit.expect(402, '/api/v1/milady/agents');
  await dialog.getByRole('button', { name: 'Create and start' }).click();
  await dialog.getByText(ADD).waitFor();
});

for (const [at, status] of [
  ['start', 'pending'],
  ['resume', 'stopped'],
] as const)
  scenario(`402 at ${at}: the row says what to add, and the state is as before`, async (visit) => {
    const { page } = visit;
    const owner = await member({ balance: 1 });
    const id = await agent(owner, 'broke', status);
    await visit.as(owner.key);
    visit.expect(402, `/agents/${id}/`);
    await visit.goto('/agents');
    await page.getByRole('button', { name: 'Start broke' }).click();
    const one = row(page, 'broke');
    await seen(one, 'Not started.');
    await seen(one, ADD);
    await seen(one, status === 'pending' ? 'Not started' : 'Stopped');
    await one.getByRole('link', { name: 'Look at the credit' }).waitFor();
    await setBalance(owner, 25);
    await one.getByRole('button', { name: 'Dismiss' }).click();
    expect(await one.getByText(ADD).count()).toBe(0);
  });

scenario('from comfortable over amber and red to suspended and back, on every page', async (visit) => {
  const { page } = visit;
  const owner = await member({ balance: 25 });
  const id = await agent(owner, 'spender');
  await visit.as(owner.key);
  const chip = page.locator('header a[title]').filter({ hasText: '$' });
  const tone = async () =>
    (await chip.locator('[data-tone]').count()) > 0 && chip.locator('svg').getAttribute('data-tone');
  const look = async (balance: number) => {
    await setBalance(owner, balance);
    await visit.goto(`/agents/${id}`);
    await seen(chip, `$${balance.toFixed(2)}`);
  };

  await look(25);
  expect(await tone()).toBe(false);
  await look(1.5);
  expect(await tone()).toBe('warn');
  await change(
    id,
    "billing_status = 'shutdown_pending', scheduled_shutdown_at = now() + interval '31 hours 12 minutes'",
  );
  await look(0);
  expect(await tone()).toBe('bad');
  await seen(chip, /shutdown in 31 h/);
  await seen(page, /It will be stopped at .* for lack of credit\./);

  await change(id, "status = 'stopped', billing_status = 'suspended', scheduled_shutdown_at = NULL");
  await look(1.5);
  await seen(page, 'It was stopped for lack of credit.');
  await seen(page, '$3.50 more credit brings it back.');
  visit.expect(402, `/agents/${id}/resume`);
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await seen(page, /Add \$3\.50: this needs \$5\.00, and there is \$1\.50\./);
  await look(25);
  await seen(page, 'There is enough credit now: start it.');
});
