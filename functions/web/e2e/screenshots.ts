// Pictures of each page and state in light and dark at 360 and 1440 px, below <target>/screenshots, to be looked at.
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inject } from 'vitest';
import { seen, type Visit } from './browser';
import { agent, change, member, switchOff } from './database';
import { addresses, allow, someAgent } from './pages';
import { scenario } from './scenario';
import { OUTPUT } from './stack';
import { AGENTS, answer, problem } from './traffic';

const FOLDER = join(dirname(OUTPUT), 'screenshots');
rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });

const { operatorKey } = inject('stack');

async function picture({ page }: Visit, name: string): Promise<void> {
  const file = name.replace(/[^\w]+/g, '-').replace(/^-|-$/g, '');
  for (const [width, height] of [
    [1440, 900],
    [360, 740],
  ] as const) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.waitForTimeout(200);
      await page.screenshot({ path: join(FOLDER, `${file}-${colorScheme}-${width}.png`), fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

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
