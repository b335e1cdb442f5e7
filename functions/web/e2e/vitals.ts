// How fast the first views are, and what they weigh on the wire: cold and warm, on this machine as it is, and as a phone.
import type { CDPSession } from 'playwright-core';
import { afterAll, expect } from 'vitest';
import type { Visit } from './browser';
import { agent, member } from './database';
import { scenario } from './scenario';

const MAX_FIRST_VIEW_BYTES = 120_000;
const PROFILES = [
  { name: 'as it is', cpu: 1, network: null },
  { name: 'CPU / 4, 4G', cpu: 4, network: { latency: 85, downloadThroughput: 1_125_000, uploadThroughput: 375_000 } },
] as const;

type Figures = { lcp: number; cls: number; tbt: number };
const rows: Record<string, string | number>[] = [];
afterAll(() => console.table(rows));

/** Runs in the page before anything else does. */
function observe(): void {
  const figures: Figures = { lcp: 0, cls: 0, tbt: 0 };
  Object.assign(globalThis, { figures });
  const on = (type: string, take: (entry: PerformanceEntry) => void) =>
    new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({ type, buffered: true });
  on('largest-contentful-paint', (entry) => {
    figures.lcp = entry.startTime;
  });
  on('layout-shift', (entry) => {
    const shift = entry as PerformanceEntry & { value: number; hadRecentInput: boolean };
    if (!shift.hadRecentInput) figures.cls += shift.value;
  });
  on('longtask', (entry) => {
    figures.tbt += entry.duration - 50;
  });
}

/** Bodies as they are transferred, of files and of the API's answers. Headers apart: HTTP/2, which browsers speak with a
 * deployment, transfers those that repeat as a byte each. */
type Sizes = Figures & { bytes: number; headers: number };
type Received = { requestId: string; response: { encodedDataLength: number } };

async function measure(visit: Visit, network: CDPSession, path: string): Promise<Sizes> {
  let bytes = 0;
  let headers = 0;
  const headersOf = new Map<string, number>();
  const begin = ({ requestId, response }: Received) => headersOf.set(requestId, response.encodedDataLength);
  const count = ({ requestId, encodedDataLength }: { requestId: string; encodedDataLength: number }) => {
    // Nothing is transferred of what the cache answers.
    const ofHeaders = Math.min(headersOf.get(requestId) ?? 0, encodedDataLength);
    headers += ofHeaders;
    bytes += encodedDataLength - ofHeaders;
  };
  network.on('Network.loadingFinished', count);
  network.on('Network.responseReceived', begin);
  await visit.goto(path);
  await visit.page.waitForLoadState('networkidle');
  const first = { bytes, headers };
  await visit.page.waitForTimeout(1_000);
  network.off('Network.loadingFinished', count);
  network.off('Network.responseReceived', begin);
  const figures = await visit.page.evaluate(() => (globalThis as unknown as { figures: Figures }).figures);
  return { ...figures, ...first };
}

for (const path of ['/sign-in', '/agents', '/credits'])
  for (const profile of PROFILES)
    scenario(`${path}, ${profile.name}`, async (visit) => {
      const owner = await member();
      for (let i = 0; i < 12; i += 1) await agent(owner, `agent ${i}`, i % 3 === 0 ? 'stopped' : 'running');
      if (path !== '/sign-in') await visit.as(owner.key);
      await visit.page.addInitScript(observe);
      const network = await visit.context.newCDPSession(visit.page);
      await network.send('Network.enable');
      await network.send('Emulation.setCPUThrottlingRate', { rate: profile.cpu });
      if (profile.network)
        await network.send('Network.emulateNetworkConditions', { offline: false, ...profile.network });
      for (const cache of ['cold', 'warm']) {
        const { lcp, cls, tbt, bytes, headers } = await measure(visit, network, path);
        rows.push({
          page: path,
          machine: profile.name,
          cache,
          'LCP ms': Math.round(lcp),
          CLS: Number(cls.toFixed(3)),
          'TBT ms': Math.round(tbt),
          bytes,
          headers,
        });
        // On a slow network the parts of other pages, which are fetched in advance, may be counted, too.
        if (cache === 'cold' && profile.network === null && path !== '/credits')
          expect(bytes).toBeLessThanOrEqual(MAX_FIRST_VIEW_BYTES);
      }
    });
