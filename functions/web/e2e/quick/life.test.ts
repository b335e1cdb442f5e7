// The life of one agent in a real container, seen and steered from the page only. The tests go on with the same agent.
import { expect, inject } from 'vitest';
import { row, seen, type Visit } from '../browser';
import { change, type Member, member, setBalance, sql } from '../database';
import { hosted } from '../scenario';
import { answer, call, problem } from '../traffic';

const NAME = 'walker';
/** Seconds as a rule; a host that is busy with something else makes the job try again a minute later, and again. */
const STARTED = 200_000;
let owner: Member;
let id = '';

async function page(visit: Visit, tab: string) {
  if (!id) throw new Error('the agent was not created');
  await visit.as(owner.key);
  await visit.goto(`/agents/${id}/${tab}`);
  return visit.page;
}

hosted('create an agent and watch it reach running, also through a reload', async (visit) => {
  const { page } = visit;
  owner = await member({ balance: 25 });
  await visit.as(owner.key);
  await visit.goto('/agents');
  await page.getByRole('link', { name: 'Create your first agent' }).click();
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name', { exact: true }).fill(NAME);
  await dialog.getByRole('button', { name: 'Add a variable' }).click();
  await dialog.getByLabel('Name of variable 1').fill('GREETING');
  await dialog.getByLabel('Value of variable 1').fill('s3cret-greeting');
  visit.secret('s3cret-greeting');
  await dialog.getByRole('button', { name: 'Create and start' }).click();
  const steps = dialog.getByRole('list', { name: `Start of ${NAME}` });
  await steps.waitFor();
  for (const step of ['Created', 'Database', 'Container', 'Running']) await seen(steps, step);
  await page.waitForURL(/agent=[0-9a-f-]{36}&job=[0-9a-f-]{36}/);
  await page.reload();
  await dialog.getByText(`${NAME} is running.`).waitFor({ timeout: STARTED });
  id = new URL(page.url()).searchParams.get('agent') ?? '';
  await dialog.getByRole('link', { name: /^Open/ }).waitFor();
  await dialog.getByRole('button', { name: 'Close', exact: true }).last().click();
  await seen(row(page, NAME), 'Running');
  expect(new URL(page.url()).search).toBe('');
});

hosted('logs are shown, and what is written later follows', async (visit) => {
  const log = (await page(visit, 'logs')).getByRole('log');
  const ready = `agent "${NAME}" is ready`;
  await seen(log, ready, 20_000);
  const [nodeId] = await sql(`SELECT node_id FROM milady_sandboxes WHERE id = '${id}'`);
  const action = { action: 'restart', containerName: `milady-${id}`, nodeId };
  await call(inject('stack').operatorKey, 'POST /admin/infrastructure/containers/actions', action);
  await log.getByText(ready).nth(1).waitFor({ timeout: 20_000 });
  await seen(log, 'agent is ending');
});

hosted('the agent answers, and what is said to it comes back', async (visit) => {
  const connect = await page(visit, 'connect');
  await connect.getByRole('button', { name: 'Ask the agent' }).click();
  await seen(connect, /It answered within/, 25_000);
  await connect.getByLabel('Message').fill('Hello');
  await connect.getByRole('button', { name: 'Send' }).click();
  await seen(connect, 'You said: Hello', 25_000);
});

hosted('saving its state says what the server says, and a refusal is no success', async (visit) => {
  const backups = await page(visit, 'backups');
  visit.expect(502, `/agents/${id}/snapshot`);
  const stop = await answer(backups, `POST /milady/agents/${id}/snapshot`, problem(502, 'The agent did not answer'));
  await backups.getByRole('button', { name: 'Save its state now' }).click();
  await seen(backups, /State not saved\.\s*The agent did not answer/);
  expect(await backups.getByText(/is saved/).count()).toBe(0);
  await stop();
  await backups.getByRole('button', { name: 'Save its state now' }).click();
  await seen(backups, new RegExp(`The state of ${NAME} is saved`), 30_000);
  await seen(backups, 'By hand');
});

hosted('restore says what is lost, and ends with the restored state running', async (visit) => {
  const backups = await page(visit, 'backups');
  await backups.getByRole('button', { name: 'Restore…' }).first().click();
  const ask = backups.getByRole('alertdialog', { name: `Restore ${NAME}?` });
  await seen(ask, /Its state is replaced by that of/);
  await ask.getByRole('button', { name: 'Restore', exact: true }).click();
  await seen(backups, 'Restoring');
  await seen(backups, /runs with the restored state/, 60_000);
  await backups.getByRole('tab', { name: 'Activity' }).click();
  await seen(backups, /Restore/);
});

hosted('suspended for lack of credit, refused while it lacks, and back when it was added', async (visit) => {
  const agent = await page(visit, 'settings');
  await seen(agent, 'GREETING').catch(() => seen(agent, 'Its variables are not listed yet.'));
  await agent.getByRole('button', { name: 'Stop', exact: true }).click();
  await seen(agent, 'Stopping');
  const start = agent.getByRole('button', { name: 'Start', exact: true });
  await start.waitFor({ timeout: 60_000 });
  await change(id, "billing_status = 'suspended'");
  await setBalance(owner, 1);
  await agent.reload();
  await seen(agent, '$4.00 more credit brings it back.');
  visit.expect(402, `/agents/${id}/resume`);
  await start.click();
  await seen(agent, /Not started\. Add \$4\.00: this needs \$5\.00, and there is \$1\.00\./);
  await setBalance(owner, 25);
  await agent.getByRole('button', { name: 'Dismiss' }).click();
  await start.click();
  await seen(agent, 'Starting');
  await agent.getByRole('button', { name: 'Stop', exact: true }).waitFor({ timeout: STARTED });
  await seen(agent, `${NAME} is running.`);
});

hosted('delete wants the name, removes the row, and the agent is gone everywhere', async (visit) => {
  const agent = await page(visit, 'settings');
  const other = await visit.tab(`/agents/${id}`);
  visit.expect(404, `/agents/${id}`);
  await agent.getByRole('button', { name: 'Delete this agent…' }).click();
  const ask = agent.getByRole('alertdialog', { name: `Delete ${NAME}?` });
  const button = ask.getByRole('button', { name: `Delete ${NAME}` });
  await ask.getByLabel(/^Type/).fill('walke');
  expect(await button.isDisabled()).toBe(true);
  await ask.getByLabel(/^Type/).fill(NAME);
  await button.click();
  await agent.waitForURL(/\/agents$/);
  await seen(agent, `${NAME} is deleted.`, 60_000);
  expect(await agent.getByRole('link', { name: NAME, exact: true }).count()).toBe(0);
  await seen(other, /is deleted|was not found/, 70_000);
});
