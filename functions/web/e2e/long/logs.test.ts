// Logs: 5,000 lines with escape sequences, and a reader who scrolls up.
import { expect } from 'vitest';
import { agent, change, member } from '../database';
import { scenario } from '../scenario';

const LINES = 5_000;

function line(i: number): string {
  const at = `2026-11-27T14:00:00.${String(i).padStart(9, '0')}Z`;
  const escapes = `\u001b[3${i % 8}mline ${i}\u001b[0m \u001b]8;;javascript:alert(1)\u0007link\u001b]8;;\u0007\u001b[2J`;
  return `${at} ${escapes} <script>alert(1)</script> ${'x'.repeat(i % 150)}`;
}

scenario(
  '5,000 lines with escape sequences are text, follow their end, and let a reader scroll up',
  async (visit) => {
    const { page } = visit;
    const owner = await member();
    const id = await agent(owner, 'talker');
    await change(id, 'last_heartbeat_at = now()');
    await visit.as(owner.key);
    await page.route('**/logs?*', async (route) => {
      // As the server does: without a time, all there is, else the line of that time and what was written since.
      const since = new URL(route.request().url()).searchParams.get('since');
      const from = since === null ? 0 : Number(since.slice(20, 29));
      const logs = Array.from({ length: since === null ? LINES : 8 }, (_, i) => `${line(from + i)}\n`).join('');
      await route.fulfill({ json: { success: true, data: { logs, fetchedAt: new Date().toISOString() } } });
    });
    await page.goto(visit.url(`/agents/${id}/logs`));
    const log = page.getByRole('log');
    await log.getByText(`line ${LINES - 1}`).waitFor({ state: 'attached' });
    const toEnd = () => log.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
    await expect.poll(toEnd, { timeout: 10_000 }).toBeLessThan(24);
    expect(await log.textContent()).not.toContain('\u001b');
    expect(await log.locator('script, a').count()).toBe(0);

    await log.hover();
    await page.mouse.wheel(0, -3_000);
    const newer = page.getByRole('button', { name: /new lines|newest line/ });
    await newer.waitFor();
    // Not the offset: lines above that get their real height change it, and what is read stays where it is.
    const read = () =>
      log.evaluate((box) => {
        const { left, top } = box.getBoundingClientRect();
        return document.elementFromPoint(left + 60, top + 60)?.closest('div')?.textContent;
      });
    const before = await read();
    await page.getByRole('button', { name: /\d+ new lines/ }).waitFor({ timeout: 15_000 });
    expect(await read()).toBe(before);
    expect(before).toContain('line');
    await newer.click();
    await expect.poll(toEnd).toBeLessThan(24);
    expect(await log.getByText('Lines may be missing').count()).toBe(0);

    await page.getByPlaceholder('Only lines with…').fill(`line ${LINES - 1}`);
    await expect.poll(() => log.locator('time').count()).toBe(1);
  },
  { timeout: 90_000 },
);
