import axe from 'axe-core';
import type { Page } from 'playwright-core';

type Found = { readonly id: string; readonly impact?: string | null; readonly nodes: readonly { target: unknown[] }[] };

/** The serious and critical violations, a line each. Injected by the debugger, which no policy of the page stops. */
export async function violations(page: Page, colorScheme: 'light' | 'dark'): Promise<string> {
  // Without transitions: half-way between two themes no contrast is right.
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const tool = (globalThis as unknown as { axe: typeof axe }).axe;
    return (await tool.run(document, { resultTypes: ['violations'] })).violations as unknown as Found[];
  });
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id} (${colorScheme}): ${nodes.slice(0, 4).map(({ target }) => target.join(' '))}`)
    .join('\n');
}

/** By how many pixels the page is wider than the window. */
export const overflow = (page: Page): Promise<number> =>
  page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
