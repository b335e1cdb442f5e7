import { inject, test } from 'vitest';
import { type Options, Visit } from './browser';

type Settings = Options & { readonly timeout?: number };
type Body = (visit: Visit) => Promise<void>;

/** A test with a browser of its own. It fails if the browser reports anything, and leaves a picture if it fails. */
export function scenario(name: string, body: Body, { timeout = 60_000, ...options }: Settings = {}): void {
  test(name, { timeout }, () => visited(name, body, options));
}

export async function visited(name: string, body: Body, options: Options = {}): Promise<void> {
  const visit = await Visit.open(options);
  try {
    await body(visit);
    await visit.check();
  } catch (error) {
    await visit.shoot(name);
    // What the browser reported often is the cause of what was missing on the page.
    if (error instanceof Error && visit.problems.length > 0 && !error.message.startsWith('The browser'))
      error.message += `\nThe browser reports:\n  ${visit.problems.join('\n  ')}`;
    throw error;
  } finally {
    await visit.close();
  }
}

/** A test that starts containers. Where none can run it is skipped, or fails if REQUIRE_HOSTS is set. */
export function hosted(name: string, body: Body, { timeout = 240_000, ...options }: Settings = {}): void {
  test(name, { timeout }, async (context) => {
    const { noHost } = inject('stack');
    if (noHost === null) return visited(name, body, options);
    if (process.env.REQUIRE_HOSTS) throw new Error(`this machine cannot be a host: ${noHost}`);
    console.log(`SKIPPED ${name}: ${noHost}`);
    context.skip(noHost);
  });
}
