// A page on which nothing happens asks for nothing new.
import { expect } from 'vitest';
import { row } from '../browser';
import { agent, member } from '../database';
import { scenario } from '../scenario';

const WATCHED = 65_000;

scenario(
  'an agents page with nothing in motion makes no request for a minute but ones that are answered 304',
  async (visit) => {
    const { page, context } = visit;
    const owner = await member();
    await agent(owner, 'running', 'running');
    await agent(owner, 'never started', 'pending');
    await agent(owner, 'stopped', 'stopped');
    await visit.as(owner.key);
    await visit.goto('/agents');
    await row(page, 'never started').waitFor();
    // The other parts of the application are fetched once the page has come to rest.
    await page.waitForLoadState('networkidle');
    await page.waitForTimeout(3_000);
    await page.waitForLoadState('networkidle');
    // Playwright reports a revalidated answer as 200, as the page sees it.
    const network = await context.newCDPSession(page);
    await network.send('Network.enable');
    const urls = new Map<string, string>();
    const answers: string[] = [];
    network.on('Network.requestWillBeSent', ({ requestId, request }) => urls.set(requestId, request.url));
    network.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) =>
      answers.push(`${statusCode} ${new URL(urls.get(requestId) ?? 'http://unknown/').pathname}`),
    );
    await page.waitForTimeout(WATCHED);
    expect(answers.filter((answer) => !answer.startsWith('304'))).toEqual([]);
    // The minute's question was asked, and it is few questions.
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.length).toBeLessThanOrEqual(6);
  },
  { timeout: 120_000 },
);
