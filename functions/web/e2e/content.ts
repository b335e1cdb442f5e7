// What a cloud in use has to show, for the pictures: brought about through the API and by what runs each minute, and by
// SQL only where it would take hours.
import { inject } from 'vitest';
import { agent, change, literal, type Member, member, sql } from './database';
import { call, type Which } from './traffic';

/** What runs each minute has run by then. */
export const PATIENCE = 200_000;

async function until(what: string, test: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (!(await test())) {
    if (Date.now() > end) throw new Error(`Within ${PATIENCE / 1000} s: ${what}`);
    await new Promise((done) => setTimeout(done, 2_000));
  }
}

export const operator = <T = Record<string, unknown>>(which: Which, body?: object): Promise<T> =>
  call<T>(inject('stack').operatorKey, which, body);

/** The call of a scheduler, with the secret of every local stack (tests/dev/src/command/stack.rs). */
async function bill(): Promise<void> {
  const response = await fetch(`${inject('stack').url}/api/cron/milady-billing`, {
    method: 'POST',
    headers: { authorization: 'Bearer dev-cron-secret' },
  });
  if (!response.ok) throw new Error(`no billing run: HTTP ${response.status} ${await response.text()}`);
}

/** Billing runs, and entries of the audit log about credit, prices, limits, hosts and containers. */
export async function operatorsAct(): Promise<void> {
  const { operatorKey } = inject('stack');
  const [organizationId = ''] = await sql(`SELECT organization_id FROM api_keys WHERE key = '${operatorKey}'`);
  const [priced = ''] = await sql(
    `SELECT id FROM milady_sandboxes WHERE organization_id = '${organizationId}' AND agent_name = 'greeter'`,
  );
  const [containerName = ''] = await sql(
    "SELECT container_name FROM milady_sandboxes WHERE node_id = 'sim-healthy' ORDER BY agent_name LIMIT 1",
  );
  await bill();
  await operator('POST /admin/credits', { organizationId, amount: 10, reason: 'Credit for the outage of 12 March' });
  await operator('POST /admin/credits/refund', { organizationId, amount: 2, reason: 'The card was charged twice' });
  await operator(`PATCH /admin/organizations/${organizationId}/limits`, { agents: 210 });
  await operator(`PATCH /admin/agents/${priced}/billing`, { exempt: false, hourlyRate: 0.015 });
  await operator('POST /admin/docker-nodes/sim-healthy/health-check');
  for (const action of ['inspect', 'logs'])
    await operator('POST /admin/infrastructure/containers/actions', { action, nodeId: 'sim-healthy', containerName });
  const known = await sql("SELECT node_id FROM docker_nodes WHERE node_id = 'eu-1'");
  if (known.length === 0)
    await operator('POST /admin/docker-nodes', {
      nodeId: 'eu-1',
      hostname: 'no-such-host.invalid',
      sshPort: 22,
      sshUser: 'root',
      capacity: 8,
    });
  await bill();
}

/** What the audit of each day would have found. */
export async function findings(): Promise<void> {
  await sql(`
    INSERT INTO cloud.billing_findings (kind, subject, organization_id, detail, found_at, last_seen_at)
    SELECT kind, kind || ' of ' || o.id, o.id, jsonb_build_object('expected', 4.12, 'found', found),
      now() - interval '26 hours', now() - interval '2 hours'
    FROM (SELECT id FROM organizations WHERE slug = 'demo') o,
      (VALUES ('external_change', 25), ('entry_differs_from_charges', 4.14), ('open_span_missing', 0)) AS f (kind, found)
    ON CONFLICT DO NOTHING`);
}

/** As billing and the jobs write it. The mail and the webhook that follow from it are real. */
const event = (of: Member, type: string, payload: object, at = new Date().toISOString()) =>
  sql(`INSERT INTO cloud.outbox_events (key, type, organization_id, payload, occurred_at)
    VALUES (gen_random_uuid()::text, ${literal(type)}, '${of.organization}', ${literal(JSON.stringify(payload))}, '${at}')`);

type Settings = {
  readonly data: {
    readonly webhook: { readonly failingSince: string | null } | null;
    readonly undeliverableSince: string | null;
  };
};

/** Has little credit, agents that are stopped soon, mails about both, and a webhook at which nobody answers. */
export async function warnedOwner(): Promise<Member> {
  const owner = await member({ balance: 0.4 });
  await call(owner.key, 'PATCH /settings', { webhookUrl: 'http://127.0.0.1:9/hook' });
  const agents = [{ name: 'big spender' }, { name: 'small one' }];
  const at = new Date(Date.now() + 31 * 3_600_000).toISOString();
  // A shutdown is announced only while it is scheduled: the rows name the time of the announcement.
  const warnedAt = new Date().toISOString();
  for (const { name } of agents)
    await change(
      await agent(owner, name),
      `billing_status = 'shutdown_pending', shutdown_warning_sent_at = '${warnedAt}', scheduled_shutdown_at = '${at}',
        hourly_rate = 0.85`,
    );
  const warning = { agents, agentCount: 2, owed: 0.87, scheduledShutdownAt: at };
  await event(owner, 'credit.low', { balance: 0.4, mark: 2 });
  await event(owner, 'agent.shutdown_scheduled', warning, warnedAt);
  await until('the owner is mailed', async () => {
    const { data } = await call<{ data: { state: string }[] }>(owner.key, 'GET /notices');
    return data.length === 2 && data.every(({ state }) => ['handed_over', 'delivered'].includes(state));
  });
  await until('the webhook fails', async () => {
    const { data } = await call<Settings>(owner.key, 'GET /settings');
    return data.webhook !== null && data.webhook.failingSince !== null;
  });
  await operator(`PATCH /admin/organizations/${owner.organization}/limits`, { agents: 2 });
  return owner;
}

/** Has no address, so a mail reached nobody. */
export async function ownerWithoutAddress(): Promise<Member> {
  const owner = await member({ balance: 0.4 });
  await sql(`UPDATE users SET email = NULL WHERE organization_id = '${owner.organization}'`);
  await event(owner, 'credit.low', { balance: 0.4, mark: 2 });
  await until('a mail reaches nobody', async () => {
    const { data } = await call<Settings>(owner.key, 'GET /settings');
    return data.undeliverableSince !== null;
  });
  return owner;
}

/** After three days in which each attempt failed. */
export async function ownerOfSwitchedOffWebhook(): Promise<Member> {
  const owner = await member();
  await call(owner.key, 'PATCH /settings', { webhookUrl: 'https://receiver.example/events' });
  await sql(`UPDATE cloud.organization_webhooks SET failures = 80, failing_since = now() - interval '3 days',
    reason = 'the receiver answered with HTTP 404', switched_off_at = now() WHERE organization_id = '${owner.organization}'`);
  return owner;
}

const STOP_REASONS = ['billing', 'operator', 'drain', 'limit', 'failure'] as const;

/** An agent for each reason for which one can be stopped. */
export async function stoppedAgents(of: Member): Promise<readonly (readonly [reason: string, id: string])[]> {
  const agents: (readonly [string, string])[] = [];
  for (const reason of STOP_REASONS) {
    const id = await agent(of, `stopped by ${reason}`, 'stopped');
    const suspended = reason === 'billing' ? ", billing_status = 'suspended'" : '';
    const note = reason === 'operator' ? ", stop_note = 'Its database fills the disk.'" : '';
    await change(id, `stop_reason = '${reason}'${suspended}${note}`);
    agents.push([reason, id]);
  }
  return agents;
}

/** An agent whose container was killed at its first boot, with what it wrote last. */
export async function deadAgent(of: Member): Promise<string> {
  const id = await agent(of, 'too heavy', 'error');
  const error =
    "The agent's container ended 5 times within a minute and was stopped: it needed more memory than its limit of 2 GiB";
  await change(id, `error_message = ${literal(error)}, stop_reason = 'failure'`);
  await sql(`
    INSERT INTO cloud.container_deaths (agent_id, organization_id, node_id, container_id, died_at, exit_code,
      out_of_memory, restarts, log, to_stop)
    VALUES ('${id}', '${of.organization}', 'sim-healthy', repeat('a', 64), now() - interval '7 minutes', 137, true, 5,
      E'2026-11-27T14:00:01Z loading the model\\n2026-11-27T14:00:09Z 1.9 GB of 2.0 GB are used\\n', false)`);
  return id;
}

/** An agent with a backup of each day of a week, and one that was made by hand. */
export async function agentWithBackups(of: Member): Promise<string> {
  const id = await agent(of, 'keeper', 'stopped');
  await sql(`
    INSERT INTO milady_sandbox_backups (sandbox_record_id, snapshot_type, state_data, size_bytes, created_at)
    SELECT '${id}', CASE day WHEN 0 THEN 'pre-shutdown' WHEN 3 THEN 'manual' ELSE 'auto' END, '{"memories": []}',
      40960 * (day + 1), now() - make_interval(days => day, mins => 12)
    FROM generate_series(0, 6) AS day`);
  await change(id, "last_backup_at = now() - interval '12 minutes'");
  return id;
}

/** Three starts have failed on the host within the last minutes. */
export const setAside = (nodeId: string) =>
  sql(`INSERT INTO cloud.failed_starts (job_id, node_id, organization_id, agent_id, is_hosts_fault, failed_at)
    SELECT gen_random_uuid(), node_id, organization_id, id, true, now()
    FROM milady_sandboxes WHERE node_id = ${literal(nodeId)} LIMIT 3`);

/** As if the host had not been readable for twenty minutes longer. The inspections that failed are real. */
export const unreadForLonger = (nodeId: string) =>
  until(`${nodeId} cannot be read`, async () => {
    const rows = await sql(`UPDATE cloud.unread_hosts SET since = since - interval '20 minutes',
      last_read_at = last_read_at - interval '20 minutes' WHERE node_id = ${literal(nodeId)} RETURNING node_id`);
    return rows.length > 0;
  });
