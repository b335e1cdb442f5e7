// Lists that grow by a page at a time.
import { expect } from 'vitest';
import { seen } from '../browser';
import { type Member, member, sql } from '../database';
import { scenario } from '../scenario';
import { problem } from '../traffic';

const NEXT_PAGE = /\/api\/v1\/credits\/transactions\?.*cursor=/;
/** Pages have 50 rows. */
const TOP_UPS = 120;

const topUps = (of: Member) =>
  sql(`INSERT INTO credit_transactions (organization_id, amount, type, created_at)
    SELECT '${of.organization}', 1, 'credit', now() AT TIME ZONE 'UTC' - make_interval(mins => i)
    FROM generate_series(1, ${TOP_UPS}) AS i`);

scenario(
  'a next page that cannot be read takes no row away, and can be asked for again',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    await topUps(owner);
    await visit.as(owner.key);
    await visit.goto('/credits');
    const table = (rows: number) => page.locator(`table[aria-rowcount="${rows + 1}"]`);
    const older = page.getByRole('button', { name: 'Older rows' });
    await table(50).waitFor();

    visit.expect(503, '/credits/transactions');
    const { status, body } = problem(503, 'Busy');
    await page.route(NEXT_PAGE, (route) =>
      route.fulfill({ status, contentType: 'application/json', body: JSON.stringify(body) }),
    );
    await older.click();
    // It is tried five times within 15 seconds.
    await seen(page, 'Not loaded', 30_000);
    await seen(page.getByRole('alert'), 'Busy');
    await table(50).waitFor();

    // However long nobody asks again.
    await page.clock.fastForward(11 * 60_000);
    await table(50).locator('button[aria-expanded]').first().click();
    await seen(table(50), 'Meaning');

    await page.unroute(NEXT_PAGE);
    await older.click();
    await table(100).waitFor();
    expect(await page.getByText('Not loaded').count()).toBe(0);
  },
  { clock: 0, timeout: 90_000 },
);
