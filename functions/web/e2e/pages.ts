import { inject } from 'vitest';
import { pages } from '../src/pages';
import type { Visit } from './browser';
import { sql } from './database';

/** A host for the pages about one; agents are put in when a test knows one. */
const HOST = 'sim-healthy';
export const TABS = ['logs', 'backups', 'activity', 'connect', 'settings'] as const;

/** The addresses of every page, with `:id` where an agent belongs. Opening an agent leaves the dashboard. */
export function addresses(who: 'everyone' | 'operators'): string[] {
  return pages
    .filter((page) => page.who === who && !page.path.endsWith('/open'))
    .flatMap((page) => [page.path, ...(page.also ?? [])])
    .flatMap((path) => (path.includes(':tab') ? TABS.map((tab) => path.replace(':tab', tab)) : [path]))
    .map((path) => path.replace(':nodeId', HOST));
}

/** What belongs to no container has no logs, and hosts in trouble answer nothing. */
export function allow(visit: Visit): void {
  for (const [status, path] of [
    [404, '/logs'],
    [502, '/logs'],
    [503, '/admin/headscale'],
    [502, '/admin/headscale'],
  ] as const)
    visit.expect(status, path);
}

/** An agent of the operator's organization that is stopped and has backups. */
export async function someAgent(): Promise<string> {
  const [id = ''] = await sql(`SELECT s.id FROM milady_sandboxes s JOIN api_keys k USING (organization_id)
    WHERE k.key = '${inject('stack').operatorKey}' AND s.agent_name LIKE 'archivist%'`);
  return id;
}
