// All that matters can be done without a pointer.
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { row, seen } from '../browser';
import { agent, member } from '../database';
import { hosted, scenario } from '../scenario';

/** Presses Tab until the element in focus is called `name`. */
async function tabTo(page: Page, name: RegExp, max = 80): Promise<void> {
  const passed: string[] = [];
  for (let i = 0; i < max; i += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      return (element?.getAttribute('aria-label') ?? element?.textContent ?? '').trim();
    });
    if (name.test(focused)) return;
    passed.push(focused.slice(0, 20));
  }
  throw new Error(`${name} was not reached, but ${passed.join(' | ')}`);
}

hosted(
  'create, stop and delete an agent with the keyboard only',
  async (visit) => {
    const { page } = visit;
    const name = 'keyboard 名前 тест';
    await visit.as((await member()).key);
    await visit.goto('/agents');
    await tabTo(page, /^New agent$/);
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'New agent' });
    await dialog.getByLabel('Name', { exact: true }).waitFor();
    await page.waitForFunction(() => document.activeElement?.tagName === 'INPUT');
    await page.keyboard.type(name);
    await page.keyboard.press('Enter');
    await dialog.getByRole('link', { name: 'Show the agent' }).waitFor({ timeout: 200_000 });
    await tabTo(page, /^Show the agent$/, 12);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('H1');
    await tabTo(page, /^Stop$/);
    await page.keyboard.press('Enter');
    await page.getByText('Stopped', { exact: true }).first().waitFor({ timeout: 60_000 });
    await tabTo(page, /^More for /);
    await page.keyboard.press('Enter');
    await page.getByRole('menu').waitFor();
    await page.keyboard.press('End');
    await page.keyboard.press('Enter');
    const ask = page.getByRole('alertdialog', { name: `Delete ${name}?` });
    await ask.getByLabel(/^Type/).waitFor();
    await page.waitForFunction(() => document.activeElement?.tagName === 'INPUT');
    await page.keyboard.type(name);
    await page.keyboard.press('Enter');
    await seen(page, `${name} is deleted.`, 60_000);
  },
  { timeout: 300_000 },
);

scenario('the table by keyboard: slash searches, arrows move, Enter opens, Shift+F10 is the menu', async (visit) => {
  const { page } = visit;
  const owner = await member();
  for (const name of ['ada', 'adam', 'bert']) await agent(owner, name, 'stopped');
  await visit.as(owner.key);
  await visit.goto('/agents?sort=name');
  await row(page, 'ada').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('ada');
  await row(page, 'bert').waitFor({ state: 'detached' });
  await page.locator('[data-row][tabindex="0"]').focus();
  await page.keyboard.press('ArrowDown');
  expect(await page.evaluate(() => document.activeElement?.textContent)).toContain('adam');
  await page.keyboard.press('Shift+F10');
  await page.getByRole('menu').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('menu').waitFor({ state: 'detached' });
  await page.locator('[data-row][tabindex="0"]').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'adam' }).waitFor();
});

scenario('the palette finds pages and agents, and leads there', async (visit) => {
  const { page } = visit;
  const owner = await member();
  await agent(owner, 'needle', 'stopped');
  await visit.as(owner.key);
  await visit.goto('/agents');
  await row(page, 'needle').waitFor();
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Page, agent or action' }).fill('need');
  await page.getByRole('option', { name: /needle/ }).waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'needle' }).waitFor();
});

scenario('a form that was typed in asks before Escape discards it', async (visit) => {
  const { page } = visit;
  await visit.as((await member()).key);
  await visit.goto('/agents/new');
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name', { exact: true }).fill('typed');
  await page.keyboard.press('Escape');
  await seen(dialog, 'Discard what you typed?');
  await dialog.getByRole('button', { name: 'Keep' }).click();
  expect(await dialog.getByLabel('Name', { exact: true }).inputValue()).toBe('typed');
});
