// Credit that runs out and comes back, by the billing run itself: an hour every few seconds, and a real container.
import { expect, inject, onTestFinished } from 'vitest';
import { row, seen } from '../browser';
import { member, sql } from '../database';
import { hosted } from '../scenario';
import { call } from '../traffic';

const NAME = 'spender';
/** 48 hours of grace and what is left of the credit, at a few seconds an hour. */
const TWO_DAYS = 10 * 60_000;

hosted(
  'from comfortable over amber and red to suspended and back',
  async (visit) => {
    const { page } = visit;
    const { operatorKey } = inject('stack');
    const owner = await member({ balance: 5.01 });
    await visit.as(owner.key);
    // Twelve simulated hours, the length of a session, are less than a minute.
    const renewal = setInterval(() => void visit.as(owner.key).catch(() => {}), 15_000);
    onTestFinished(() => clearInterval(renewal));
    await visit.goto('/agents');
    await page.getByRole('link', { name: 'Create your first agent' }).click();
    const dialog = page.getByRole('dialog', { name: 'New agent' });
    await dialog.getByLabel('Name', { exact: true }).fill(NAME);
    await dialog.getByRole('button', { name: 'Create and start' }).click();
    await dialog.getByText(`${NAME} is running.`).waitFor({ timeout: 200_000 });
    await dialog.getByRole('button', { name: 'Close', exact: true }).last().click();
    const chip = page.locator('header a[title]').filter({ hasText: '$' });
    const tone = () => chip.locator('svg').getAttribute('data-tone');
    const column = async (name: string) =>
      (await sql(`SELECT ${name} FROM milady_sandboxes WHERE organization_id = '${owner.organization}'`))[0] ?? '';

    await seen(row(page, NAME), 'Running');
    expect(await chip.locator('[data-tone="bad"], [data-tone="warn"]').count()).toBe(0);

    // What is spent meanwhile, as by another service of the same organization.
    const spend = (left: number) =>
      sql(`UPDATE organizations SET credit_balance = ${left} WHERE id = '${owner.organization}'`);
    await spend(1.5);
    await expect.poll(tone, { timeout: 120_000 }).toBe('warn');
    await spend(0.02);
    await expect.poll(tone, { timeout: 120_000 }).toBe('bad');
    await seen(chip, /shutdown in \d+ h/, 120_000);
    await page.getByRole('link', { name: NAME, exact: true }).click();
    await seen(page, /It will be stopped at .* for lack of credit\./);
    expect(await column('status')).toBe('running');

    // The page follows the log until it learns that the agent stopped.
    await seen(page, 'It was stopped for lack of credit.', TWO_DAYS);
    expect(await column('container_name')).toBe('');
    visit.expect(402, '/resume');
    await page.getByRole('button', { name: 'Start', exact: true }).click();
    await seen(page, /Not started\. Add \$/);

    await call(operatorKey, 'POST /admin/credits', {
      organizationId: owner.organization,
      amount: 10,
      reason: 'a top-up',
    });
    // Nobody starts it: the next hours do.
    await expect.poll(() => column('status'), { timeout: 200_000 }).toBe('running');
    await page.reload();
    await seen(page, 'Running', 60_000);
    const billed = async () => Number(await column('total_billed'));
    const before = await billed();
    await expect.poll(billed, { timeout: 120_000 }).toBeGreaterThan(before);
  },
  { timeout: 2 * TWO_DAYS },
);
