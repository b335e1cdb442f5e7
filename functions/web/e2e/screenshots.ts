// Pictures of each page and state in light and dark at 360 and 1440 px, and of each mail at 360 and 700 px, below
// <target>/screenshots, to be looked at. The first tests fill the pages.
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, inject, test } from 'vitest';
import { overflow, violations } from './axe';
import { seen, type Visit } from './browser';
import {
  agentWithBackups,
  deadAgent,
  findings,
  operator,
  operatorsAct,
  ownerOfSwitchedOffWebhook,
  ownerWithoutAddress,
  PATIENCE,
  setAside,
  stoppedAgents,
  unreadForLonger,
  warnedOwner,
} from './content';
import { agent, change, colleague, type Member, member, switchOff } from './database';
import { mails } from './mails';
import { addresses, allow, someAgent } from './pages';
import { scenario } from './scenario';
import { OUTPUT } from './stack';
import { AGENTS, alter, answer, problem } from './traffic';

const FOLDER = join(dirname(OUTPUT), 'screenshots');
rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });

const { operatorKey } = inject('stack');

const PAGE_SIZES = [
  [1440, 900],
  [360, 740],
] as const;
const MAIL_SIZES = [
  [700, 900],
  [360, 740],
] as const;

async function picture({ page }: Visit, name: string, sizes: typeof PAGE_SIZES | typeof MAIL_SIZES = PAGE_SIZES) {
  const file = name.replace(/[^\w]+/g, '-').replace(/^-|-$/g, '');
  for (const [width, height] of sizes) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.waitForTimeout(200);
      await page.screenshot({ path: join(FOLDER, `${file}-${colorScheme}-${width}.png`), fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

/** Long enough for what runs each minute. */
const LONG = { timeout: 3 * PATIENCE };

let warned: Member;
let unaddressed: Member;
test('content: what operators do', LONG, operatorsAct);
test('content: what the audit finds', findings);
test('content: owners who were warned', LONG, async () => {
  [warned, unaddressed] = await Promise.all([warnedOwner(), ownerWithoutAddress()]);
});

for (const path of [...addresses('everyone'), ...addresses('operators')])
  scenario(path, async (visit) => {
    allow(visit);
    await visit.as(operatorKey);
    await visit.goto(path.replace(':id', await someAgent()));
    if (path.endsWith('/new')) await visit.page.getByRole('dialog').waitFor();
    await visit.page.waitForTimeout(500);
    await picture(visit, path.replace(':id', 'one'));
  });

scenario('sign-in', async (visit) => {
  await visit.page.goto(visit.url('/sign-in'));
  await seen(visit.page, 'Sign in to Milady Cloud');
  await picture(visit, 'sign-in');
});

scenario(
  'states of a list: empty, failed, refused, gone, forbidden, session over',
  async (visit) => {
    const { page } = visit;
    const owner = await member({ balance: 1 });
    await visit.as(owner.key);
    for (const status of [400, 401, 402, 404, 409]) visit.expect(status, '/api/v1/');
    await visit.goto('/agents');
    await picture(visit, 'state empty');
    const id = await agent(owner, 'broke', 'stopped');
    await change(await agent(owner, 'failed', 'error'), "error_message = 'The image could not be pulled: not found'");
    await change(await agent(owner, 'far away'), "status = 'disconnected'");
    await change(await agent(owner, 'silent'), "last_heartbeat_at = now() - interval '17 minutes'");
    await visit.goto('/agents');
    await page.getByRole('button', { name: 'Start broke' }).click();
    await seen(page, /Add \$4\.00/);
    await picture(visit, 'state refused');
    await visit.goto('/agents/new');
    await seen(page.getByRole('dialog'), /Add \$4\.00/);
    await picture(visit, 'state 402 at create');
    await visit.goto(`/agents/${id}/settings`);
    await page.getByRole('button', { name: 'Delete this agent…' }).click();
    await page.getByRole('alertdialog').waitFor();
    await picture(visit, 'dialog delete');
    const stop = await answer(page, AGENTS, problem(400, 'The list could not be read'));
    await page.goto(visit.url('/agents'));
    await seen(page, 'This could not be loaded');
    await picture(visit, 'state failed');
    await stop();
    await visit.goto('/agents/00000000-0000-4000-8000-000000000000');
    await picture(visit, 'state gone');
    await visit.goto('/fleet');
    await picture(visit, 'state forbidden');
    await visit.goto('/agents');
    await switchOff(owner.key);
    await page.getByRole('button', { name: 'Start broke' }).click();
    await page.getByRole('alertdialog').waitFor();
    await picture(visit, 'state session over');
  },
  { timeout: 120_000 },
);

scenario(
  'states of answers: old, and offline',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    await agent(owner, 'ada');
    await visit.as(owner.key);
    visit.expect(503, '/api/v1/');
    visit.expect('net::ERR_INTERNET_DISCONNECTED', '/');
    await visit.goto('/agents');
    await answer(page, 'GET /', problem(503, 'Busy'));
    await page.clock.fastForward(61_000);
    await seen(page, /Last answer/);
    await picture(visit, 'state old');
    await visit.context.setOffline(true);
    await seen(page, 'This device is offline.');
    await picture(visit, 'state offline');
  },
  { clock: 0 },
);

/** Opens the first row that has more to say. */
async function opened(visit: Visit, path: string, name: string): Promise<void> {
  await visit.goto(path);
  await visit.page.locator('tbody button[aria-expanded="false"]').first().click();
  await picture(visit, name);
}

scenario(
  'rows of lists that are open',
  async (visit) => {
    await visit.as(operatorKey);
    await opened(visit, '/billing/runs', 'billing run');
    await opened(visit, '/billing/runs?view=findings', 'finding');
    await opened(visit, '/mails', 'mail');
    await opened(visit, '/audit', 'audit entry');
  },
  LONG,
);

scenario(
  'an owner who was warned: credit, notices, limits that are reached, and a webhook that fails',
  async (visit) => {
    const { page } = visit;
    await visit.as(warned.key);
    await visit.goto('/agents');
    await picture(visit, 'warned agents');
    await visit.goto('/credits');
    await seen(page.getByRole('table', { name: 'Notices, newest first' }), 'Shutdown warning');
    await picture(visit, 'warned credits');
    await visit.goto('/settings');
    await seen(page, /Failing since/);
    await picture(visit, 'webhook failing');
    await visit.as(unaddressed.key);
    await visit.goto('/credits');
    await seen(page, /Our mails have reached nobody since/);
    await picture(visit, 'mails reach nobody');
  },
  LONG,
);

scenario(
  'webhooks: registered with its secret, tested in vain, and switched off',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    await visit.as(owner.key);
    await visit.goto('/settings');
    await page.getByLabel('URL of your webhook').fill('http://127.0.0.1:9/hook');
    await page.getByRole('button', { name: 'Register the webhook' }).click();
    await seen(page, 'This secret signs the events.');
    visit.secret((await page.locator('main code').textContent()) ?? '');
    await picture(visit, 'webhook registered');
    await page.getByRole('button', { name: 'Hide' }).click();
    await page.getByRole('button', { name: 'Test the webhook' }).click();
    await seen(page, 'Not delivered');
    await picture(visit, 'webhook tested');
    await visit.as((await ownerOfSwitchedOffWebhook()).key);
    await visit.goto('/settings');
    await seen(page, /Switched off since/);
    await picture(visit, 'webhook switched off');
  },
  LONG,
);

scenario(
  'roles and keys: what a viewer, a member and a key that may only read are told',
  async (visit) => {
    const owner = await member();
    const id = await agent(owner, 'ada', 'stopped');
    await visit.as(await colleague(owner, 'viewer'));
    await visit.goto('/account');
    await picture(visit, 'viewer account');
    await visit.goto(`/agents/${id}/settings`);
    await picture(visit, 'viewer agent settings');
    await visit.as(await colleague(owner, 'member'));
    await visit.goto('/settings');
    await picture(visit, 'member settings');
    await visit.as(await colleague(owner, 'owner', ['read']));
    await visit.goto('/account');
    await picture(visit, 'key that may only read');
  },
  LONG,
);

scenario(
  'agents that were stopped, that died, that have backups, and with long names',
  async (visit) => {
    const owner = await member();
    const stopped = await stoppedAgents(owner);
    const dead = await deadAgent(owner);
    const keeper = await agentWithBackups(owner);
    await agent(owner, 'W'.repeat(100), 'stopped');
    await visit.as(owner.key);
    for (const status of [404, 409]) visit.expect(status, '/logs');
    await visit.goto('/agents');
    await picture(visit, 'agents of all kinds');
    for (const [reason, id] of stopped) {
      await visit.goto(`/agents/${id}`);
      await picture(visit, `agent stopped by ${reason}`);
    }
    await visit.goto(`/agents/${dead}`);
    await visit.page.getByText('What its container wrote last').click();
    await picture(visit, 'agent that died');
    await visit.goto(`/agents/${keeper}/backups`);
    await picture(visit, 'daily backups');
  },
  LONG,
);

async function choose(page: Page, of: string, item: string): Promise<void> {
  await page.getByRole('button', { name: `Actions for ${of}` }).click();
  await page.getByRole('menuitem', { name: item }).click();
}

scenario(
  'the limits of an organization, and what is used of them',
  async (visit) => {
    const { page } = visit;
    await visit.as(operatorKey);
    await visit.goto(`/organizations?q=${warned.organization}`);
    await choose(page, warned.name, 'Limits…');
    const dialog = page.getByRole('dialog');
    await seen(dialog, /Empty is the default/);
    await picture(visit, 'dialog limits');
    await page.keyboard.press('Escape');
    await choose(page, warned.name, 'Users and API keys…');
    const users = page.getByRole('dialog', { name: `Users and API keys: ${warned.name}` });
    await seen(users, /\d users? with/);
    await picture(visit, 'dialog users');
    await users
      .getByRole('button', { name: /^New API key for/ })
      .first()
      .click();
    await picture(visit, 'dialog new key');
    await page.keyboard.press('Escape');
    await visit.goto('/organizations');
    await page.getByRole('button', { name: 'New organization' }).click();
    await seen(page.getByRole('dialog', { name: 'New organization' }), 'Owner’s mail address');
    await picture(visit, 'dialog new organization');
  },
  LONG,
);

scenario(
  'hosts that are set aside, emptied and lost',
  async (visit) => {
    const { page } = visit;
    allow(visit);
    await visit.as(operatorKey);
    await setAside('sim-healthy');
    await visit.goto('/fleet/nodes/sim-saturated');
    await choose(page, 'sim-saturated', 'Drain…');
    const drain = page.getByRole('alertdialog');
    await seen(drain, /No agent runs there|runs? there:|cannot be moved now/);
    await picture(visit, 'dialog drain');
    await drain.getByRole('button', { name: 'Drain', exact: true }).click();
    await seen(page, /\d to go/);
    await picture(visit, 'host draining');
    await visit.goto('/fleet');
    await seen(page, 'Draining');
    await picture(visit, 'fleet with a drain');
    await operator('DELETE /admin/docker-nodes/sim-saturated/drain');
    await unreadForLonger('sim-silent');
    await visit.goto('/fleet/nodes/sim-silent');
    await choose(page, 'sim-silent', 'Declare lost…');
    const lost = page.getByRole('alertdialog');
    await lost.getByLabel(/^Type/).fill('sim-silent');
    await picture(visit, 'dialog declare lost');
    await lost.getByRole('button', { name: 'Declare it lost' }).click();
    await seen(page, 'Its agents start on other hosts.');
    await picture(visit, 'host lost');
    await visit.goto('/fleet');
    await seen(page, /Starts on the host fail/, PATIENCE);
    await picture(visit, 'fleet with a host set aside and one lost');
    await visit.goto('/fleet/nodes/sim-healthy');
    await picture(visit, 'host set aside');
  },
  LONG,
);

type Lanes = { readonly data: { summary: { backlogCount: number; backlog: object } } };

scenario('jobs that wait for too long', async (visit) => {
  const { page } = visit;
  const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
  await visit.as(operatorKey);
  await alter<Lanes>(page, 'GET /admin/infrastructure', ({ data: { summary } }) => {
    summary.backlogCount = 44;
    summary.backlog = {
      stops: { due: 6, running: 4, oldestDueAt: ago(12) },
      starts: { due: 38, running: 8, oldestDueAt: ago(34) },
    };
  });
  await visit.goto('/fleet');
  await seen(page, 'starts: 38 wait, 8 run');
  await picture(visit, 'fleet with a backlog');
});

scenario(
  'each mail',
  async (visit) => {
    const { page } = visit;
    for (const { kind, html } of await mails()) {
      // The same HTML as in the mailbox, whose policy keeps a mail from running what looks for violations.
      await page.setContent(html);
      await picture(visit, `mail ${kind}`, MAIL_SIZES);
      await page.setViewportSize({ width: 360, height: 740 });
      expect(await overflow(page), `${kind} is too wide`).toBeLessThanOrEqual(0);
      for (const theme of ['light', 'dark'] as const) expect(await violations(page, theme), kind).toBe('');
    }
  },
  { timeout: 180_000 },
);
