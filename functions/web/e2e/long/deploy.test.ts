// A new version is deployed under an open page: its parts have other names from then on.
import { expect } from 'vitest';
import { row, seen } from '../browser';
import { agent, member } from '../database';
import { scenario } from '../scenario';

scenario('a part that a deploy took away says so, and a reload goes on', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await agent(owner, 'ada', 'stopped');
  await visit.as(owner.key);
  visit.expect(404, '/assets/');
  const gone = /\/assets\/(page-agent-|backups-|logs-|settings-)/;
  await page.route(gone, (route) => route.fulfill({ status: 404, contentType: 'text/plain', body: 'Not found' }));
  await visit.goto('/agents');
  await row(page, 'ada').getByRole('link', { name: 'ada', exact: true }).click();
  await seen(page, 'A new version of this page is available. Reload it to continue.');
  expect(await page.locator('nav').count()).toBeGreaterThan(0);
  await page.unroute(gone);
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'ada' }).waitFor();
});
