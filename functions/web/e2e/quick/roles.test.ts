// What somebody may not do is shown, cannot be used, and says why. The server has the last word.
import type { Locator, Page } from 'playwright-core';
import { expect } from 'vitest';
import { row, seen } from '../browser';
import { agent, colleague, member, setRole, sql } from '../database';
import { scenario } from '../scenario';
import { count } from '../traffic';

/** It is there, has the focus, says why it cannot be used, and does nothing. */
async function explained(page: Page, button: Locator, why: string): Promise<void> {
  await button.waitFor();
  expect(await button.getAttribute('aria-disabled')).toBe('true');
  expect(await button.getAttribute('title')).toBe(why);
  await button.focus();
  expect(await button.evaluate((element) => element === document.activeElement)).toBe(true);
  await page.keyboard.press('Enter');
  await seen(page.locator('#toasts'), `${why}.`);
}

const isBlocked = async (button: Locator) => (await button.getAttribute('aria-disabled')) === 'true';

scenario('a viewer sees every action, and why it is not theirs', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const id = await agent(owner, 'ada');
  await agent(owner, 'bert', 'stopped');
  await visit.as(await colleague(owner, 'viewer'));
  const sent = count(page, 'POST /milady/agents');
  const deleted = count(page, 'DELETE /milady/agents');
  await visit.goto('/agents');
  await explained(page, page.getByRole('button', { name: 'New agent' }), 'Viewers may not create agents');
  await explained(page, page.getByRole('button', { name: 'Stop ada' }), 'Viewers may not stop agents');
  await explained(page, page.getByRole('button', { name: 'Start bert' }), 'Viewers may not start agents');
  await page.getByRole('button', { name: 'More for ada' }).click();
  for (const [item, why] of [
    ['Open in a new tab', 'Viewers may not open agents'],
    ['Stop', 'Viewers may not stop agents'],
    ['Save its state', 'Viewers may not save the state of agents'],
    ['Delete…', 'Viewers may not delete agents'],
  ] as const) {
    const one = page.getByRole('menuitem', { name: item });
    await seen(one, why);
    expect(await isBlocked(one)).toBe(true);
  }
  await page.keyboard.press('Escape');
  await visit.goto(`/agents/${id}/backups`);
  await explained(
    page,
    page.getByRole('button', { name: 'Save its state now' }),
    'Viewers may not save the state of agents',
  );
  await visit.goto(`/agents/${id}/settings`);
  await explained(page, page.getByRole('button', { name: 'Stop', exact: true }), 'Viewers may not stop agents');
  await explained(page, page.getByRole('button', { name: 'Delete this agent…' }), 'Viewers may not delete agents');
  await visit.goto(`/agents/${id}/connect`);
  await explained(page, page.getByRole('button', { name: 'Open in a new tab' }).last(), 'Viewers may not open agents');
  await explained(page, page.getByRole('button', { name: 'Ask the agent' }), 'Viewers may not ask agents');
  await explained(page, page.getByRole('button', { name: 'Send' }), 'Viewers may not talk to agents');
  await visit.goto('/agents/new');
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await seen(dialog, 'Viewers may not create agents.');
  await dialog.getByLabel('Name', { exact: true }).fill('never');
  await page.keyboard.press('Enter');
  expect(await isBlocked(dialog.getByRole('button', { name: 'Create and start' }))).toBe(true);
  expect([sent(), deleted()]).toEqual([0, 0]);
});

scenario('a member handles agents, and cannot delete them', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const id = await agent(owner, 'ada', 'stopped');
  await visit.as(await colleague(owner, 'member'));
  await visit.goto('/agents');
  expect(await isBlocked(page.getByRole('button', { name: 'Start ada' }))).toBe(false);
  await page.getByRole('link', { name: 'New agent' }).waitFor();
  await visit.goto(`/agents/${id}/settings`);
  const why = 'Only owners and admins may delete agents';
  await explained(page, page.getByRole('button', { name: 'Delete this agent…' }), why);
  expect(await page.getByRole('alertdialog').count()).toBe(0);
  await page.getByRole('button', { name: 'More for ada' }).click();
  await seen(page.getByRole('menuitem', { name: 'Delete…' }), why);
});

scenario('a key that only reads says so on every action, and the account page says what it permits', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await agent(owner, 'ada', 'stopped');
  await visit.as(await colleague(owner, 'admin', ['read', 'billing']));
  await visit.goto('/agents');
  await explained(page, page.getByRole('button', { name: 'Start ada' }), 'This key may only read');
  await page.getByRole('link', { name: 'Account', exact: true }).click();
  await seen(page, `You are signed in to ${owner.name} with the rights of an owner. Your key may only read.`);
  await seen(page, owner.organization);
  const permission = (name: string) => page.getByRole('row').filter({ has: page.getByText(name, { exact: true }) });
  await seen(permission('read'), 'has it');
  await seen(permission('agents'), 'does not have it');
  await seen(permission('admin'), 'does not have it');
});

scenario('a role that changed meanwhile: the refusal of the server is shown, and then the reason', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const id = await agent(owner, 'ada');
  const key = await colleague(owner, 'member');
  await visit.as(key);
  await visit.goto('/agents');
  const stop = page.getByRole('button', { name: 'Stop ada' });
  await stop.waitFor();
  await setRole(key, 'viewer');
  visit.expect(403, `/agents/${id}/suspend`);
  await stop.click();
  await seen(row(page, 'ada'), /Not stopped\.\s*Viewers may only read; ask an owner of the organization/);
  await seen(row(page, 'ada'), 'Running');
  await page.locator('button[aria-label="Stop ada"][aria-disabled="true"]').waitFor();
  await explained(page, stop, 'Viewers may not stop agents');
  await setRole(key, 'admin');
  await page.getByRole('link', { name: 'Account', exact: true }).click();
  await seen(page, /with the rights of an owner/);
  await page.getByRole('link', { name: 'Agents', exact: true }).click();
  await stop.waitFor();
  expect(await isBlocked(stop)).toBe(false);
});

scenario('an agent that never ran can be stopped', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const id = await agent(owner, 'fresh', 'pending');
  await visit.as(owner.key);
  await visit.goto('/agents');
  const one = row(page, 'fresh');
  await seen(one, 'Not started');
  await page.getByRole('button', { name: 'More for fresh' }).click();
  await page.getByRole('menuitem', { name: 'Stop' }).click();
  await seen(one, 'Stopped');
  expect(await sql(`SELECT status FROM milady_sandboxes WHERE id = '${id}'`)).toEqual(['stopped']);
});
