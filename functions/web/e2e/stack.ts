// Starts the local stack for the tests, or uses the one at E2E_URL. Ends only what it started.
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestProject } from 'vitest/node';

export type Stack = {
  /** Without a slash at the end. */
  readonly url: string;
  readonly database: string;
  /** The key of the organization `Demo`, whose owner is an operator. */
  readonly operatorKey: string;
  /** Why no agent can run here; null if agents can. */
  readonly noHost: string | null;
};

declare module 'vitest' {
  interface ProvidedContext {
    stack: Stack;
  }
}

const workspace = process.env.E2E_WORKSPACE ?? resolve(import.meta.dirname, '../../..');
/** Where logs, screenshots and pictures of failures go. */
export const OUTPUT = join(process.env.CARGO_TARGET_DIR ?? join(workspace, 'target'), 'e2e');

/** The demo keys are the same on every machine, see tests/dev/src/command/seed.rs. */
const demoKey = (digits: string) => `eliza_${digits.repeat(32)}`;

/** Long, because the first build of the functions takes minutes. */
const START_TIMEOUT = 20 * 60_000;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const url = process.env.E2E_URL;
  if (url) {
    const database = process.env.E2E_DATABASE_URL;
    if (!database) throw new Error('E2E_URL needs E2E_DATABASE_URL, the address that `cargo dev` prints.');
    const noHost = process.env.E2E_NO_HOST ?? null;
    project.provide('stack', { url: url.replace(/\/$/, ''), database, operatorKey: demoKey('d0'), noHost });
    return async () => {};
  }
  const { stack, child } = await start(['--fresh', '--port', '0', ...(process.env.E2E_ARGS?.split(' ') ?? [])]);
  project.provide('stack', stack);
  return () => end(child);
}

/** `cargo dev` with its address, once it has printed everything. */
export async function start(args: readonly string[]): Promise<{ stack: Stack; child: ChildProcess }> {
  mkdirSync(OUTPUT, { recursive: true });
  const log = createWriteStream(join(OUTPUT, 'stack.log'));
  // A process group of its own, so that its end takes everything with it that it started.
  const child = spawn('cargo', ['dev', ...args], { cwd: workspace, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = () => signal(child, 'SIGTERM');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  child.stderr?.pipe(log, { end: false });
  try {
    return { stack: await announced(child, (line) => log.write(`${line}\n`)), child };
  } catch (error) {
    await end(child);
    throw error;
  }
}

function announced(child: ChildProcess, write: (line: string) => void): Promise<Stack> {
  return new Promise((resolved, rejected) => {
    if (!child.stdout) throw new Error('the stack has no output');
    const known: Partial<Record<keyof Stack, string | undefined>> = {};
    const timer = setTimeout(() => rejected(new Error('The stack did not start in time.')), START_TIMEOUT);
    child.once('error', rejected);
    child.once('exit', (code) => rejected(new Error(`\`cargo dev\` ended with ${code}; see ${OUTPUT}/stack.log`)));
    createInterface(child.stdout).on('line', (line) => {
      write(line);
      const found = (pattern: RegExp) => pattern.exec(line)?.[1];
      known.url ??= found(/^The dashboard is at (\S+?)\/? /);
      known.database ??= found(/^The database is at (\S+)/);
      known.operatorKey ??= found(/^ {2}key of Demo\s+(\S+)/);
      known.noHost ??= found(/^Agents cannot run here: (.*)/);
      if (line !== 'Try') return;
      clearTimeout(timer);
      const { url, database, operatorKey, noHost } = known;
      if (url && database && operatorKey) resolved({ url, database, operatorKey, noHost: noHost ?? null });
      else rejected(new Error(`The stack printed no address; see ${OUTPUT}/stack.log`));
    });
  });
}

/** False if the group has ended already. */
function signal(child: ChildProcess, name: NodeJS.Signals | 0): boolean {
  try {
    return child.pid !== undefined && process.kill(-child.pid, name);
  } catch {
    return false;
  }
}

export async function end(child: ChildProcess): Promise<void> {
  signal(child, 'SIGTERM');
  for (let waited = 0; signal(child, 0); waited += 200) {
    if (waited === 30_000) signal(child, 'SIGKILL');
    await new Promise((resolved) => setTimeout(resolved, 200));
  }
}
