// Each mail as the product sends it: an event in the outbox, which the function `notify` turns into a mail in the
// mailbox of the local stack.
import { inject } from 'vitest';
import type { SchemaMailTemplate } from '../src/api/openapi.gen';
import { agent, change, literal, type Member, member, sql } from './database';
import { call } from './traffic';

export type Mail = { readonly kind: SchemaMailTemplate; readonly html: string };

const ORGANIZATION = 'Gesellschaft für außerordentlich langlebige Gedächtnisse und Übersetzungen mbH & Co. KG';
/** Long, without a place to break, and in several scripts. */
const NAMES = [
  'diary',
  'Donaudampfschifffahrtsgesellschaftskapitänsmützenträgerinnenverein',
  'المساعد الذي يكتب الرسائل',
  '会議の議事録を要約して翻訳するエージェント',
  '🦉 night owl <b>&amp;</b>',
];
const agents = { agents: NAMES.map((name) => ({ name })), agentCount: 23 };
const debt = { owed: 1, owedAtDeadline: 49, debtCeiling: 72 };

/** What each is about. A template that is missing here is a type error. */
const PAYLOADS: Record<SchemaMailTemplate, object> = {
  'credit.low': { balance: 1.5, mark: 2 },
  'agent.shutdown_scheduled': { ...agents, ...debt, scheduledShutdownAt: '2099-03-03T01:00:00Z' },
  'agent.suspended': { ...agents, owed: 49 },
  'agent.resumed': agents,
  'agent.start_failed': { ...agents, reason: 'The credit does not suffice: $24.00 are needed, and $5.10 are there' },
  'agent.container_died': {
    agents: agents.agents.slice(1, 2),
    agentCount: 1,
    reason:
      "The agent's container ended 5 times within a minute and was stopped: it needed more memory than its limit of 2 GiB",
  },
  'agent.stopped_by_operator': {
    agents: agents.agents.slice(1, 2),
    agentCount: 1,
    reason: 'Its database fills the disk. Delete data before you start it again.',
  },
  'agent.storage_deletion_scheduled': { ...agents, owed: 49, deletionAt: '2026-04-07T01:00:00Z' },
  'webhook.switched_off': {
    webhook: 'slack',
    failingSince: '2026-03-01T00:00:00Z',
    reason: 'the receiver answered with HTTP 404',
  },
};

export async function mails(): Promise<Mail[]> {
  const owner = await member();
  await sql(`UPDATE organizations SET name = ${literal(ORGANIZATION)} WHERE id = '${owner.organization}'`);
  await call(owner.key, 'PATCH /settings', { timeZone: 'America/Argentina/Buenos_Aires' });
  const [address = ''] = await sql(`SELECT email FROM users WHERE id = '${owner.user}'`);
  // A shutdown is announced only while it is scheduled.
  await change(await agent(owner, 'diary', 'pending'), "billing_status = 'shutdown_pending'");
  const sent: Mail[] = [];
  for (const kind of Object.keys(PAYLOADS) as SchemaMailTemplate[]) sent.push(await mail(owner, address, kind));
  return sent;
}

async function mail(owner: Member, address: string, kind: SchemaMailTemplate): Promise<Mail> {
  const { url } = inject('stack');
  const before = await numbers(address);
  const payload = literal(JSON.stringify(PAYLOADS[kind]));
  const [id = ''] = await sql(`
    WITH clock AS MATERIALIZED (SELECT cloud.billing_clock() AS moment),
      warned AS (UPDATE milady_sandboxes SET shutdown_warning_sent_at = clock.moment FROM clock
        WHERE organization_id = '${owner.organization}')
    INSERT INTO cloud.outbox_events (key, type, organization_id, payload, occurred_at)
      SELECT gen_random_uuid()::text, '${kind}', '${owner.organization}'::uuid, ${payload}::jsonb, moment FROM clock
      RETURNING id`);
  // As the rule of the event bus does. Meanwhile the sweep may have done it.
  const event = { source: 'milady.control-plane', 'detail-type': kind, detail: { id: Number(id) } };
  await fetch(`${url}/2015-03-31/functions/notify/invocations`, { method: 'POST', body: JSON.stringify(event) });
  for (let waited = 0; waited < 15_000; waited += 200) {
    const number = (await numbers(address)).find((known) => !before.includes(known));
    if (number !== undefined) return { kind, html: await text(`/dev/mails/${number}/html`) };
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`There is no mail about ${kind}.`);
}

/** The numbers of the mails to an address. */
async function numbers(address: string): Promise<string[]> {
  const rows = (await text('/dev/mails')).split('<tr>').filter((row) => row.includes(`>${address}<`));
  return rows.flatMap((row) => /"\/dev\/mails\/(\d+)"/.exec(row)?.[1] ?? []);
}

async function text(path: string): Promise<string> {
  const response = await fetch(inject('stack').url + path);
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return response.text();
}
