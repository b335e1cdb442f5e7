// Every page as an operator sees it: no violation in either theme, no scrolling sideways at 320 px.
import { expect, inject } from 'vitest';
import { overflow, violations } from '../axe';
import { loaded, seen, type Visit } from '../browser';
import { addresses, allow, someAgent } from '../pages';
import { scenario } from '../scenario';

const { operatorKey } = inject('stack');

async function check(visit: Visit): Promise<void> {
  const { page } = visit;
  expect(await violations(page, 'light')).toBe('');
  expect(await violations(page, 'dark')).toBe('');
  await page.setViewportSize({ width: 320, height: 700 });
  await loaded(page);
  expect(await overflow(page), 'wider than 320 px').toBeLessThanOrEqual(0);
  expect(await violations(page, 'dark')).toBe('');
}

for (const path of [...addresses('everyone'), ...addresses('operators'), '/no/such/page'])
  scenario(`${path} has no serious violation in light and dark, and fits 320 px`, async (visit) => {
    allow(visit);
    // The page comes with this status.
    visit.expect(404, '/no/such/page');
    await visit.as(operatorKey);
    await visit.goto(path.replace(':id', await someAgent()));
    if (path.endsWith('/new')) await visit.page.getByRole('dialog').waitFor();
    await check(visit);
  });

scenario('/sign-in has no serious violation in light and dark, and fits 320 px', async (visit) => {
  await visit.page.goto(visit.url('/sign-in'));
  await seen(visit.page, 'Sign in to Milady Cloud');
  await check(visit);
});

scenario(
  'forced colours keep every shape and the ring of the focus',
  async (visit) => {
    const { page } = visit;
    await visit.as(operatorKey);
    await visit.goto('/agents');
    const shapes = page.locator('main svg[data-tone]');
    await shapes.first().waitFor();
    const hidden = await shapes.evaluateAll(
      (all) =>
        all.filter((shape) => {
          const { width } = shape.getBoundingClientRect();
          const ground = getComputedStyle(document.body).backgroundColor;
          return width < 8 || getComputedStyle(shape).color === ground;
        }).length,
    );
    expect(hidden).toBe(0);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    const ring = await page.evaluate(
      () => document.activeElement && getComputedStyle(document.activeElement).outlineStyle,
    );
    expect(ring).not.toBe('none');
    expect(await violations(page, 'light')).toBe('');
  },
  { forcedColors: true },
);
