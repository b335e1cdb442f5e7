// What an owner sets, what others see of it, and the mails that follow from it.
import { expect, inject } from 'vitest';
import { row, seen } from '../browser';
import { agent, anotherKey, change, colleague, literal, type Member, member, sql, switchOff } from '../database';
import { scenario } from '../scenario';
import { hold } from '../traffic';

const { operatorKey } = inject('stack');
const MARK = 'Low-credit mark, in US dollars';

/** A warning that reached nobody. Returns its id. */
async function warning(of: Member): Promise<string> {
  const [id = ''] = await sql(`
    INSERT INTO cloud.outbox_events (key, type, organization_id, payload, occurred_at, undeliverable_at, published_at)
    VALUES (gen_random_uuid()::text, 'agent.shutdown_scheduled', '${of.organization}',
      '{"agents": [{"name": "spender"}], "agentCount": 1, "scheduledShutdownAt": "2099-01-01T00:00:00Z"}',
      now(), now(), now()) RETURNING id`);
  return id;
}

scenario('an owner raises the mark, the credit becomes low at once, and the default brings it back', async (visit) => {
  const { page } = visit;
  const owner = await member({ balance: 25 });
  await agent(owner, 'spender');
  await visit.as(owner.key);
  await visit.goto('/settings');
  const chip = page.locator('header a[title]').filter({ hasText: '$' });
  const amber = chip.locator('[data-tone="warn"]').first();
  await seen(chip, '$25.00');
  expect(await amber.count()).toBe(0);
  await seen(page, /Empty is the default: \$.*, or what your agents cost in 72 hours if that is more/);
  const mark = page.getByLabel(MARK);
  expect(await mark.inputValue()).toBe('');
  await mark.fill('a lot');
  await seen(page, /It must be an amount from 0 to 1,000,000/);
  expect(await page.getByRole('button', { name: 'Save' }).isDisabled()).toBe(true);
  await mark.fill('30');
  await page.getByRole('button', { name: 'Save' }).click();
  await seen(page, 'The settings are saved.');
  await seen(page, /the balance falls below \$30\.00/);
  await amber.waitFor();
  await visit.goto('/settings');
  await amber.waitFor();
  expect(await mark.inputValue()).toBe('30');
  await mark.fill('');
  await page.keyboard.press('Enter');
  await seen(page, /the balance falls below the default mark/);
  await amber.waitFor({ state: 'detached' });
  expect(
    await sql(`SELECT coalesce(low_credit_mark::text, 'default') FROM cloud.organization_settings
      WHERE organization_id = '${owner.organization}'`),
  ).toEqual(['default']);
});

scenario('what is refused is said at its field, what holds is shown again, and what was typed stays', async (visit) => {
  const { page } = visit;
  await visit.as((await member()).key);
  await visit.goto('/settings');
  const address = page.getByLabel('Billing address');
  const held = await hold(page, 'PATCH /settings');
  visit.expect(400, '/settings');
  await address.fill('nobody');
  await page.getByRole('button', { name: 'Save' }).click();
  await held.asked;
  await seen(page, /Mails go to the billing address first/);
  await held.release();
  await seen(page, 'It must be a mail address.');
  await seen(page, /Mails go to the address for invoices/);
  expect(await address.inputValue()).toBe('nobody');
  await page.getByRole('button', { name: 'Discard changes' }).click();
  expect(await address.inputValue()).toBe('');
});

scenario('a half-filled form survives a session that ends, and is saved afterwards', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await visit.as(owner.key);
  await visit.goto('/settings');
  await page.getByLabel('Time zone').selectOption('Europe/Berlin');
  await page.getByText('Start suspended agents again once the debt is paid').click();
  await switchOff(owner.key);
  visit.expect(401, '/api/v1/');
  await page.getByRole('button', { name: 'Save' }).click();
  const over = page.getByRole('alertdialog', { name: 'Your session has ended' });
  await over.waitFor();
  const key = await anotherKey(owner);
  visit.secret(key);
  await over.getByLabel('API key', { exact: true }).fill(key);
  await over.getByRole('button', { name: 'Continue' }).click();
  await over.waitFor({ state: 'detached' });
  expect(await page.getByLabel('Time zone').inputValue()).toBe('Europe/Berlin');
  await page.getByRole('button', { name: 'Save' }).click();
  await seen(page, 'The settings are saved.');
  await seen(page, /with times in UTC and Europe\/Berlin/);
  expect(
    await sql(`SELECT time_zone, automatic_resume FROM cloud.organization_settings
      WHERE organization_id = '${owner.organization}'`),
  ).toEqual(['Europe/Berlin|f']);
});

scenario('a member sees the settings, a shortened address, and why nothing can be changed', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await sql(`INSERT INTO cloud.organization_settings (organization_id, low_credit_mark, billing_email, updated_at, updated_by)
    VALUES ('${owner.organization}', 12.5, ${literal('billing@example.com')}, now(), '${owner.user}')`);
  await warning(owner);
  await visit.as(await colleague(owner, 'member'));
  await visit.goto('/settings');
  const why = 'Only owners and admins may change the settings';
  await seen(page.locator('main'), `${why}.`);
  const mark = page.getByLabel(MARK);
  expect(await mark.inputValue()).toBe('12.5');
  expect(await page.getByLabel('Billing address').inputValue()).toBe('b***@e***.com');
  for (const field of [MARK, 'Billing address', 'Time zone', 'Start suspended agents again once the debt is paid']) {
    expect(await page.getByLabel(field).isDisabled(), field).toBe(true);
    expect(await page.getByLabel(field).getAttribute('title'), field).toBe(why);
  }
  const save = page.getByRole('button', { name: 'Save' });
  expect(await save.getAttribute('aria-disabled')).toBe('true');
  await save.click({ force: true });
  await seen(page.locator('#toasts'), `${why}.`);
  expect(await page.getByText('Our mails have reached nobody').count()).toBe(0);
});

scenario('an owner registers a webhook, sees its secret once, tests it, and removes it', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await visit.as(owner.key);
  await visit.goto('/settings');
  const url = page.getByLabel('URL of your webhook');
  const register = page.getByRole('button', { name: 'Register the webhook' });
  expect(await register.isDisabled()).toBe(true);
  visit.expect(400, '/settings');
  await url.fill('nonsense');
  await register.click();
  await seen(page, 'It must be a URL.');
  await url.fill('http://127.0.0.1:9/hook');
  await register.click();
  await seen(page, 'This secret signs the events. It is shown only now.');
  const secret = (await page.locator('main code').textContent()) ?? '';
  expect(secret).toMatch(/^[0-9a-f]{64}$/);
  visit.secret(secret);
  await page.getByRole('button', { name: 'Hide' }).click();
  await seen(page, 'Events are sent there.');
  await page.getByRole('button', { name: 'Test the webhook' }).click();
  await seen(page, 'Not delivered: the receiver could not be reached.');
  await visit.goto('/settings');
  expect(await url.inputValue()).toBe('http://127.0.0.1:9/hook');
  await page.getByRole('button', { name: 'Remove the webhook' }).click();
  await seen(page, 'Nothing is sent to the webhook from now on.');
  await register.waitFor();
  expect(
    await sql(`SELECT count(*) FROM cloud.organization_webhooks WHERE organization_id = '${owner.organization}'`),
  ).toEqual(['0']);
});

scenario('a webhook that is switched off says since when and why', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await sql(`INSERT INTO cloud.organization_webhooks
      (organization_id, kind, url, secret, failures, failing_since, reason, due_at, active_since, switched_off_at, updated_by)
    VALUES ('${owner.organization}', 'slack', 'https://hooks.slack.com/…', 'x', 80, now() - interval '3 days',
      'the receiver answered with HTTP 404', now(), now(), now(), '${owner.user}')`);
  await visit.as(owner.key);
  await visit.goto('/settings');
  await seen(page, /Switched off since .*: the receiver answered with HTTP 404\. A test that succeeds/);
  const url = page.getByLabel('URL of an incoming webhook of Slack');
  expect(await url.inputValue()).toBe('');
  expect(await url.getAttribute('placeholder')).toBe('https://hooks.slack.com/…');
  await page.getByRole('button', { name: 'Test Slack' }).waitFor();
});

scenario('an owner whom no mail reaches is told so on every page, and where to set an address', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await warning(owner);
  await visit.as(owner.key);
  await visit.goto('/credits');
  await seen(page, /Our mails have reached nobody since/);
  await seen(page.getByRole('table', { name: 'Notices, newest first' }), 'Nobody to address');
  await visit.goto('/agents');
  await page.getByRole('link', { name: 'Set a billing address in the settings' }).click();
  await page.getByLabel('Billing address').waitFor();
  await seen(page, /Our mails have reached nobody since/);
});

scenario('operators see the mail of a warning, why it failed, and have it sent again', async (visit) => {
  const { page } = visit;
  const owner = await member();
  const event = await warning(owner);
  // It is sent again only while the shutdown is scheduled.
  await change(
    await agent(owner, 'spender', 'pending'),
    `billing_status = 'shutdown_pending', shutdown_warning_sent_at =
      (SELECT occurred_at FROM cloud.outbox_events WHERE id = ${event})`,
  );
  const [id = ''] = await sql(`
    INSERT INTO cloud.mail_deliveries
      (event_id, organization_id, template, recipient, state, attempts, reason, created_at, updated_at)
    VALUES (${event}, '${owner.organization}', 'agent.shutdown_scheduled', ${literal('owner@test.example')}, 'failed', 3,
      'the SMTP server answered 5', now(), now()) RETURNING id`);
  await visit.as(operatorKey);
  await visit.goto('/mails?state=failed');
  const one = row(page, owner.organization.slice(0, 8));
  for (const text of ['Shutdown warning', 'o***@t***.example', 'Failed', 'the SMTP server answered 5'])
    await seen(one, text);
  await one.getByRole('button', { name: /^Actions for/ }).click();
  await page.getByRole('menuitem', { name: 'Send again…' }).click();
  const dialog = page.getByRole('alertdialog', { name: 'Send again: Shutdown warning' });
  await seen(dialog, 'It is sent to o***@t***.example within a minute.');
  await dialog.getByRole('button', { name: 'Send again' }).click();
  await seen(page, 'The mail is sent to o***@t***.example within a minute.');
  await one.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Clear' }).click();
  await one.getByRole('button', { name: /^Actions for/ }).click();
  const again = page.getByRole('menuitem', { name: 'Send again…' });
  expect(await again.getAttribute('aria-disabled')).toBe('true');
  await seen(again, /It is under way|The mail provider has it/);
  await visit.goto(`/audit?subject=${id}`);
  await seen(page.locator('tbody'), 'Had a mail sent again');
});
