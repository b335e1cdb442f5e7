// Answers that come late, that are old, or that something else gives.
import type { Page, Request, Route } from 'playwright-core';
import { inject } from 'vitest';

/** `GET /api/v1/milady/agents`: a method and the beginning of the path after it, or the whole path with `$` at the end. */
export type Which = `${'GET' | 'POST' | 'PATCH' | 'DELETE'} /${string}`;

export const AGENTS: Which = 'GET /milady/agents$';

export function matches(which: Which, request: Request): boolean {
  const [method = '', path = ''] = which.split(' ');
  const asked = new URL(request.url()).pathname.replace('/api/v1', '');
  const fits = path.endsWith('$') ? asked === path.slice(0, -1) : asked.startsWith(path);
  return request.method() === method && fits;
}

async function intercept(
  page: Page,
  which: Which,
  handle: (route: Route) => Promise<void>,
): Promise<() => Promise<void>> {
  const handler = (route: Route) => (matches(which, route.request()) ? handle(route) : route.fallback());
  await page.route('**/api/v1/**', handler);
  return () => page.unroute('**/api/v1/**', handler);
}

export type Answer = {
  readonly status: number;
  readonly body: unknown;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

const give = (route: Route, { status, body, type, headers }: Answer): Promise<void> =>
  route.fulfill({
    status,
    contentType: type ?? (typeof body === 'string' ? 'text/html' : 'application/json'),
    headers: { ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

/** Answers instead of the server, until the returned function is called. A text is sent as it is, as HTML. */
export const answer = (page: Page, which: Which, given: Answer) =>
  intercept(page, which, (route) => give(route, given));

/** A refusal as the API words it. */
export const problem = (status: number, detail: string, more: object = {}): Answer => ({
  status,
  body: {
    type: 'about:blank',
    title: 'Refused',
    status,
    detail,
    instance: '957d3aa7-ea5e-4277-b2d1-4393b3708232',
    success: false,
    error: detail,
    ...more,
  },
});

type Given = { readonly status: number; readonly contentType: string; readonly body: string };

/** The server's own answer. Playwright's `route.fetch` leaves out secure cookies where there is no https. */
async function asked(page: Page, request: Request): Promise<Given> {
  const cookies = await page.context().cookies();
  const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
  const body = request.postData();
  const response = await fetch(request.url(), {
    method: request.method(),
    headers: { ...request.headers(), cookie },
    ...(body === null ? {} : { body }),
  });
  const contentType = response.headers.get('content-type') ?? '';
  return { status: response.status, contentType, body: await response.text() };
}

/** The server's answer as it is now, for every later request: a list that was computed before. */
export async function freeze(page: Page, which: Which): Promise<() => Promise<void>> {
  let first: Promise<Given> | undefined;
  return intercept(page, which, async (route) => {
    first ??= asked(page, route.request());
    await route.fulfill(await first);
  });
}

/** The server's own answers with a change: for what nothing brings about here. */
export const alter = <T>(page: Page, which: Which, change: (body: T) => void): Promise<() => Promise<void>> =>
  intercept(page, which, async (route) => {
    const given = await asked(page, route.request());
    const body = JSON.parse(given.body) as T;
    change(body);
    await route.fulfill({ ...given, body: JSON.stringify(body) });
  });

/** Asks the server at once, and lets the answers arrive only after `release`. `asked` resolves with the first one. */
export async function hold(page: Page, which: Which) {
  let release = () => {};
  let noticed = () => {};
  const released = new Promise<void>((done) => {
    release = done;
  });
  const first = new Promise<void>((done) => {
    noticed = done;
  });
  const stop = await intercept(page, which, async (route) => {
    const given = await asked(page, route.request());
    noticed();
    await released;
    // The page may have given up on it.
    await route.fulfill(given).catch(() => {});
  });
  return {
    asked: first,
    release: async () => {
      release();
      await stop();
    },
  };
}

/**
 * The server does what the first request asks for, and the page gets another answer, or none. Later requests get the
 * same without reaching the server, until the returned function is called.
 */
export function lose(page: Page, which: Which, instead?: Answer): Promise<() => Promise<void>> {
  let isFirst = true;
  return intercept(page, which, async (route) => {
    if (isFirst) {
      isFirst = false;
      await asked(page, route.request());
    }
    await (instead ? give(route, instead) : route.abort());
  });
}

/** Counts requests from now on. */
export function count(page: Page, which: Which): () => number {
  let n = 0;
  page.on('request', (request) => {
    if (matches(which, request)) n += 1;
  });
  return () => n;
}

/** The API without a browser, as another client uses it. */
export async function call<T = Record<string, unknown>>(key: string, which: Which, body?: object): Promise<T> {
  const [method = 'GET', path = ''] = which.split(' ');
  const response = await fetch(`${inject('stack').url}/api/v1${path}`, {
    method,
    headers: {
      'x-api-key': key,
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...(method === 'POST' ? { 'idempotency-key': crypto.randomUUID() } : {}),
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${which}: HTTP ${response.status} ${text}`);
  return JSON.parse(text) as T;
}
