// What the tests of F32 share: a clock that they move, agents without containers, and jobs that the test makes up.

import type { Page } from 'playwright-core';
import { row, type Visit } from './browser';
import { agent, type Member, member } from './database';
import { scenario as plain } from './scenario';

export const MINUTE = 61_000;
/** With a clock that the test moves, a minute takes a moment. */
export const scenario = (name: string, body: (visit: Visit) => Promise<void>) => plain(name, body, { clock: 0 });

/** The list of a new organization with these agents. */
export async function agents(visit: Visit, ...names: string[]): Promise<{ page: Page; owner: Member; ids: string[] }> {
  const owner = await member();
  const ids: string[] = [];
  for (const name of names) ids.push(await agent(owner, name));
  await visit.as(owner.key);
  await visit.goto('/agents');
  for (const name of names) await row(visit.page, name).waitFor();
  return { page: visit.page, owner, ids };
}

export const JOB = { a: '11111111-1111-4111-8111-111111111111', b: '22222222-2222-4222-8222-222222222222' } as const;
export const accepted = (jobId: string) => ({
  status: 202,
  body: { success: true, data: { jobId, status: 'pending' } },
});

/** The answer about a job that is at a step, or has failed there. */
export function job(id: string, step: string, error: string | null = null) {
  const at = new Date().toISOString();
  const ended = error !== null;
  return {
    status: 200,
    body: {
      success: true,
      data: {
        id,
        type: 'milady_provision',
        status: ended ? 'failed' : 'in_progress',
        result: null,
        error,
        attempts: 1,
        maxAttempts: 3,
        ...{ estimatedCompletionAt: null, scheduledFor: at, startedAt: at, completedAt: ended ? at : null },
        ...{ createdAt: at, updatedAt: at, steps: [{ name: step, status: ended ? 'failed' : 'in_progress', at }] },
      },
      polling: ended ? { shouldContinue: false } : { shouldContinue: true, intervalMs: 1000 },
    },
  };
}
