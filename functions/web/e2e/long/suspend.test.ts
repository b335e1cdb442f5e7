// An operator suspends somebody else's agent: what it will do is said first, and the owner reads why.
import { expect, inject } from 'vitest';
import { violations } from '../axe';
import { seen } from '../browser';
import { agent, change, member, sql } from '../database';
import { scenario } from '../scenario';

const REASON = 'Its database fills the disk.';

scenario(
  'suspending an agent wants a reason, which its owner reads, and the owner starts it again',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    const id = await agent(owner, 'overfull');
    await change(id, "node_id = 'sim-healthy'");
    await visit.as(inject('stack').operatorKey);
    await visit.goto(`/containers?q=${id}`);
    const more = page.getByRole('button', { name: 'Actions for overfull' });
    await more.click();
    await page.getByRole('menuitem', { name: 'Suspend agent…' }).click();
    const ask = page.getByRole('alertdialog', { name: 'Suspend overfull?' });
    await seen(ask, `overfull of ${owner.name} is stopped as if its owner suspended it`);
    await seen(ask, 'its state is saved first');
    await seen(ask, 'may start it again');
    expect(await violations(page, 'light')).toBe('');
    expect(await violations(page, 'dark')).toBe('');
    const button = ask.getByRole('button', { name: 'Suspend it' });
    expect(await button.isDisabled()).toBe(true);
    await ask.getByLabel('Reason').fill('  ');
    expect(await button.isDisabled()).toBe(true);
    await ask.getByLabel('Reason').fill(REASON);
    await button.click();
    await seen(page, 'overfull stops as soon as its host answers.');
    await ask.waitFor({ state: 'detached' });
    await expect
      .poll(() => sql(`SELECT status, stop_reason FROM milady_sandboxes WHERE id = '${id}'`), { timeout: 60_000 })
      .toEqual(['stopped|operator']);
    const audited = await sql(`SELECT details ->> 'reason' FROM cloud.admin_audit_log WHERE subject = '${id}'`);
    expect(audited).toEqual([REASON]);

    await visit.as(owner.key);
    await visit.goto(`/agents/${id}`);
    await seen(page, 'An operator of this cloud stopped it.');
    await seen(page, REASON);
    expect(await page.getByRole('button', { name: 'Start', exact: true }).isEnabled()).toBe(true);
  },
  { timeout: 120_000 },
);
