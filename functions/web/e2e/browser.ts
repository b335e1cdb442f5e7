// A browser that fails the test at whatever a visitor of a healthy page must never meet.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core';
import { afterAll, inject } from 'vitest';
import { leaks } from './leaks';
import { OUTPUT } from './stack';

const FLAGS =
  '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync';

let browser: Promise<Browser> | undefined;
export function launched(): Promise<Browser> {
  browser ??= chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: FLAGS.split(' '),
  });
  return browser;
}
afterAll(async () => (await browser)?.close());

export type Options = {
  readonly width?: number;
  readonly height?: number;
  readonly theme?: 'light' | 'dark';
  readonly forcedColors?: boolean;
  readonly touch?: boolean;
  /** Minutes by which the clock of the browser is ahead, and a clock that `page.clock` moves. */
  readonly clock?: number;
};

/** Chromium's own line about a status. It cannot be turned off, so a step declares the statuses that it expects. */
const OWN_LINE = /^Failed to load resource: (?:the server responded with a status of (\d+)|(net::ERR_\w+))/;

export class Visit {
  readonly problems: string[] = [];
  private readonly expected: { readonly what: string; readonly path: string }[] = [];
  private readonly secrets: string[] = [];
  /** A container that starts or ends changes the network of this machine, and Chromium breaks off what it loads. */
  private networkChanges = 0;

  private constructor(
    readonly context: BrowserContext,
    /** The first tab. */
    readonly page: Page,
  ) {}

  static async open(options: Options = {}): Promise<Visit> {
    const context = await (await launched()).newContext({
      viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
      colorScheme: options.theme ?? 'light',
      forcedColors: options.forcedColors ? 'active' : 'none',
      hasTouch: options.touch ?? false,
      locale: 'en-US',
      timezoneId: 'Europe/Paris',
    });
    context.setDefaultTimeout(15_000);
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) =>
        console.error(`violates the policy: ${event.effectiveDirective} ${event.blockedURI}`),
      );
    });
    const page = await context.newPage();
    if (options.clock !== undefined) await page.clock.install({ time: Date.now() + options.clock * 60_000 });
    const visit = new Visit(context, page);
    visit.watch(page);
    // Whether somebody is signed in is asked for with every load, and a 401 is the answer to it.
    visit.expect(401, '/api/v1/session');
    // The page of an agent asks for its log, and an agent without a container has none.
    visit.expect(409, '/logs');
    context.on('page', (other) => visit.watch(other));
    return visit;
  }

  /** From now on, Chromium may report this status, or this `net::` error, for paths that contain `path`. */
  expect(what: number | 'net::ERR_INTERNET_DISCONNECTED' | 'net::ERR_FAILED', path: string): void {
    this.expected.push({ what: String(what), path });
  }

  /** Must not be in the page or its storage when the test ends. */
  secret(text: string): void {
    this.secrets.push(text);
  }

  private watch(page: Page): void {
    const found = (text: string) => this.problems.push(text);
    page.on('pageerror', (error) => found(`page error: ${error.stack ?? error.message}`));
    page.on('crash', () => found('the page crashed'));
    page.on('console', (message) => {
      const text = message.text();
      const leak = leaks(text, this.secrets);
      if (leak) found(`the console has ${leak}`);
      if (message.type() !== 'error') return;
      const own = OWN_LINE.exec(text);
      const { url } = message.location();
      if (own?.[2] === 'net::ERR_NETWORK_CHANGED') {
        this.networkChanges += 1;
        return;
      }
      const what = own?.[1] ?? own?.[2];
      if (what && this.expected.some((one) => one.what === what && url.includes(one.path))) return;
      found(`console error: ${text} ${url}`);
    });
    page.on('request', (request) => {
      const leak = leaks(request.url(), this.secrets);
      if (leak) found(`the address of a request has ${leak}`);
    });
  }

  /** Signs in without the form, whose own tests use it. */
  async as(key: string): Promise<this> {
    this.secret(key);
    const { url } = inject('stack');
    const response = await fetch(`${url}/api/v1/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: url },
      body: JSON.stringify({ apiKey: key }),
    });
    const [name, ...value] = (response.headers.getSetCookie()[0] ?? '').split(';')[0]?.split('=') ?? [];
    if (!response.ok || !name) throw new Error(`cannot sign in: HTTP ${response.status}`);
    const cookie = { name, value: value.join('='), httpOnly: true, sameSite: 'Strict' } as const;
    await this.context.addCookies([{ ...cookie, url: url.replace('http:', 'https:') }]);
    return this;
  }

  url = (path: string): string => inject('stack').url + path;

  /** Opens a page and waits until it has loaded what it shows. */
  async goto(path: string, page = this.page): Promise<void> {
    const before = this.networkChanges;
    try {
      await page.goto(this.url(path));
      await loaded(page);
    } catch (error) {
      if (this.networkChanges === before) throw error;
      await page.goto(this.url(path));
      await loaded(page);
    }
  }

  async tab(path: string): Promise<Page> {
    const page = await this.context.newPage();
    await this.goto(path, page);
    return page;
  }

  /** What must be true at the end of each test. */
  async check(): Promise<void> {
    for (const page of this.context.pages()) {
      if (page.isClosed() || !page.url().startsWith('http')) continue;
      const held = await page.evaluate(() => ({
        address: location.href,
        localStorage: JSON.stringify(localStorage),
        sessionStorage: JSON.stringify(sessionStorage),
        page: document.documentElement.outerHTML,
      }));
      for (const [where, text] of Object.entries(held)) {
        const leak = leaks(text, this.secrets);
        if (leak) this.problems.push(`${where} has ${leak}`);
      }
      const other = Object.keys(JSON.parse(held.localStorage)).filter((key) => !KEPT.includes(key));
      if (other.length > 0) this.problems.push(`localStorage keeps ${other.join()}`);
    }
    if (this.problems.length > 0) throw new Error(`The browser reports:\n  ${this.problems.join('\n  ')}`);
  }

  async shoot(name: string): Promise<void> {
    const folder = join(OUTPUT, 'failures');
    mkdirSync(folder, { recursive: true });
    for (const [index, page] of this.context.pages().entries()) {
      const file = `${name.replace(/[^\w]+/g, '-').slice(0, 80)}${index === 0 ? '' : `-${index}`}.png`;
      await page.screenshot({ path: join(folder, file), timeout: 5_000 }).catch(() => {});
    }
  }

  close = (): Promise<void> => this.context.close();
}

/** All that the pages may keep in the browser. */
const KEPT = ['theme', 'density', 'columns'];

/** Until nothing on the page is loading. */
export async function loaded(page: Page): Promise<void> {
  await page.locator('h1').first().waitFor();
  await page.locator('main [aria-busy="true"]').first().waitFor({ state: 'detached', timeout: 30_000 });
}

/** The row of a table, with the line below it. */
export const row = (page: Page, name: string): Locator =>
  page.locator('tbody', { has: page.getByRole('link', { name, exact: true }) }).first();

export const seen = (where: Page | Locator, text: string | RegExp, timeout = 15_000): Promise<void> =>
  where.getByText(text).first().waitFor({ timeout });
