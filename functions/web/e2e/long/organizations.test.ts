// From nothing to a customer who signs in: an operator adds an organization, a key of its owner, and revokes it. And the
// credit that an operator grants.
import { randomBytes } from 'node:crypto';
import { expect, inject } from 'vitest';
import { violations } from '../axe';
import { seen } from '../browser';
import { member, sql } from '../database';
import { scenario } from '../scenario';
import { call, count, lose } from '../traffic';

const { operatorKey } = inject('stack');

scenario('an operator adds an organization, makes a key that is shown once, and revokes it', async (visit) => {
  const { page } = visit;
  const unique = randomBytes(4).toString('hex');
  const name = `Acme ${unique}`;
  await visit.as(operatorKey);
  await visit.goto('/organizations');
  await page.getByRole('button', { name: 'New organization' }).click();
  const form = page.getByRole('dialog', { name: 'New organization' });
  await form.getByLabel('Name', { exact: true }).fill(name);
  await form.getByLabel('Owner’s mail address').fill('nobody');
  visit.expect(400, '/admin/organizations');
  await form.getByRole('button', { name: 'Add it' }).click();
  await seen(form, 'It must be a mail address.');
  await form.getByLabel('Owner’s mail address').fill(`ada@${unique}.example`);
  await form.getByLabel('Owner’s name').fill('Ada');
  await form.getByRole('button', { name: 'Add it' }).click();

  // Its owner has no key yet, so that is what comes next.
  const users = page.getByRole('dialog', { name: `Users and API keys: ${name}` });
  await seen(users, '1 user, without an API key: nobody can sign in with one.');
  await seen(users, /owner, a\*\*\*@/);
  expect(await violations(page, 'light')).toBe('');
  await users.getByRole('button', { name: 'New API key for Ada' }).click();
  await users.getByLabel('What the key is for').fill('laptop');
  await users.getByRole('button', { name: 'Make the key' }).click();
  await users.getByRole('button', { name: 'Copy the API key' }).waitFor();
  const key = (await users.locator('code').first().textContent()) ?? '';
  expect(key).toMatch(/^eliza_[0-9a-f]{64}$/);
  visit.secret(key);
  const session = await call<{ data: { organizationName: string; role: string; permissions: string[] } }>(
    key,
    'GET /session',
  );
  expect(session.data).toMatchObject({
    organizationName: name,
    role: 'owner',
    permissions: ['read', 'agents', 'billing'],
  });
  await users.getByRole('button', { name: 'Done' }).click();
  await seen(users, '1 user with 1 API key.');
  expect(await users.getByText(key).count()).toBe(0);

  await users.getByRole('button', { name: 'Add a user' }).click();
  await users.getByLabel('Mail address').fill(`bob@${unique}.example`);
  await users.getByLabel('Role').selectOption('viewer');
  await users.getByRole('button', { name: 'Add the user' }).click();
  await seen(users, '2 users with 1 API key.');

  await users.getByRole('button', { name: 'Revoke laptop' }).click();
  await users.getByRole('button', { name: 'Revoke the key' }).click();
  await seen(users, '2 users, without an API key: nobody can sign in with one.');
  await expect(call(key, 'GET /session')).rejects.toThrow('HTTP 401');
  await page.keyboard.press('Escape');
  await users.waitFor({ state: 'detached' });
  await seen(page, name);
});

scenario('a grant whose answer is lost is made once, and the same amount can be granted again later', async (visit) => {
  const { page } = visit;
  const customer = await member({ balance: 25 });
  const ledger = () =>
    sql(`SELECT type, amount FROM cloud.ledger_entries WHERE organization_id = '${customer.organization}'`);
  const dialog = page.getByRole('dialog', { name: `Grant credit: ${customer.name}` });
  const grant = dialog.getByRole('button', { name: 'Grant credit', exact: true });
  const review = async () => {
    await page.getByRole('button', { name: `Actions for ${customer.name}` }).click();
    await page.getByRole('menuitem', { name: 'Grant credit…' }).click();
    await dialog.getByLabel('Amount in dollars').fill('10');
    await dialog.getByLabel('Reason').fill('A present');
    await dialog.getByRole('button', { name: 'Review' }).click();
    await grant.waitFor();
  };
  await visit.as(operatorKey);
  await visit.goto(`/organizations?q=${customer.organization}`);
  await review();
  visit.expect('net::ERR_FAILED', '/admin/credits');
  const sent = count(page, 'POST /admin/credits$');
  const restore = await lose(page, 'POST /admin/credits$');
  await grant.click();
  await seen(dialog, /It is not known whether this was done\.\s*The server cannot be reached\./);
  await seen(dialog, 'Trying again here does not do it twice.');
  expect(await dialog.getByText('Nothing was changed').count()).toBe(0);
  expect(sent()).toBe(3);
  expect(await ledger()).toEqual(['grant|10.000000']);
  await restore();
  await grant.click();
  await seen(page.locator('#toasts'), `${customer.name} has $35.00 now.`);
  await dialog.waitFor({ state: 'detached' });
  expect(await ledger()).toEqual(['grant|10.000000']);

  await review();
  await grant.click();
  await seen(page.locator('#toasts'), `${customer.name} has $45.00 now.`);
  expect(await ledger()).toEqual(['grant|10.000000', 'grant|10.000000']);
});
