// What no operation of the API does: organizations with a given credit, keys that are switched off, thousands of rows.
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { inject } from 'vitest';

const run = promisify(execFile);

/** Debian keeps the programs of each version of Postgres in a folder that is not in PATH. */
function psql(): string {
  const folder = '/usr/lib/postgresql';
  const versions = existsSync(folder) ? readdirSync(folder) : [];
  return versions.map((version) => `${folder}/${version}/bin/psql`).find((path) => existsSync(path)) ?? 'psql';
}

/** The rows of the last statement, each as its columns joined with `|`. */
export async function sql(text: string): Promise<string[]> {
  const { stdout } = await run(psql(), [
    inject('stack').database,
    ...['--no-psqlrc', '--quiet', '--no-align', '--tuples-only', '--set', 'ON_ERROR_STOP=1', '--command', text],
  ]);
  return stdout.split('\n').filter(Boolean);
}

export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

export type Member = {
  readonly key: string;
  readonly organization: string;
  readonly user: string;
  readonly name: string;
};

let count = 0;

/** An organization with one owner, who has a key, and no agent. */
export async function member({ balance = 25, wallet = false } = {}): Promise<Member> {
  count += 1;
  const unique = randomBytes(4).toString('hex');
  const name = `Test ${count} ${unique}`;
  const key = newKey();
  const address = wallet ? `'0x${randomBytes(20).toString('hex')}', true` : 'NULL, false';
  const [row = ''] = await sql(`
    WITH o AS (INSERT INTO organizations (name, slug, credit_balance)
           VALUES (${literal(name)}, 'test-${unique}', ${balance}) RETURNING id),
         u AS (INSERT INTO users (name, email, organization_id, role, wallet_address, wallet_verified)
           SELECT 'Owner', 'owner@test-${unique}.example', id, 'owner', ${address} FROM o RETURNING id, organization_id)
    INSERT INTO api_keys (name, key, key_hash, key_prefix, organization_id, user_id)
      SELECT 'test', ${keyColumns(key)}, organization_id, id FROM u RETURNING organization_id, user_id`);
  const [organization = '', user = ''] = row.split('|');
  return { key, organization, user, name };
}

const newKey = () => `eliza_${randomBytes(32).toString('hex')}`;
const keyColumns = (key: string) =>
  `'${key}', '${createHash('sha256').update(key).digest('hex')}', '${key.slice(0, 12)}'`;

/** Another key of the same user. */
export async function anotherKey(of: Member): Promise<string> {
  const key = newKey();
  await sql(`INSERT INTO api_keys (name, key, key_hash, key_prefix, organization_id, user_id)
    VALUES ('another', ${keyColumns(key)}, '${of.organization}', '${of.user}')`);
  return key;
}

/** The key of somebody else in the same organization. With an empty list, the key is not restricted. */
export async function colleague(of: Member, role: string, permissions: readonly string[] = []): Promise<string> {
  const key = newKey();
  await sql(`
    WITH u AS (INSERT INTO users (name, organization_id, role)
      VALUES ('Colleague', '${of.organization}', ${literal(role)}) RETURNING id)
    INSERT INTO api_keys (name, key, key_hash, key_prefix, organization_id, user_id, permissions)
      SELECT 'colleague', ${keyColumns(key)}, '${of.organization}', id, '${JSON.stringify(permissions)}' FROM u`);
  return key;
}

export const setRole = (key: string, role: string) =>
  sql(`UPDATE users SET role = ${literal(role)} FROM api_keys k WHERE k.user_id = users.id AND k.key = '${key}'`);

export const switchOff = (key: string) => sql(`UPDATE api_keys SET is_active = false WHERE key = '${key}'`);
export const setBalance = (of: Member, balance: number) =>
  sql(`UPDATE organizations SET credit_balance = ${balance} WHERE id = '${of.organization}'`);

export type Status = 'pending' | 'running' | 'stopped' | 'error';

/** A row without a container. What is done with it succeeds or fails by what the functions know of it. */
export async function agent(of: Member, name: string, status: Status = 'running'): Promise<string> {
  const [id = ''] = await sql(`
    INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, environment_vars)
    VALUES ('${of.organization}', '${of.user}', ${literal(name)}, '${status}',
      jsonb_build_object('MILADY_API_TOKEN', md5(${literal(name)}))) RETURNING id`);
  return id;
}

/** Many running rows at once, named `<prefix> 1` and so on. */
export const manyAgents = (of: Member, prefix: string, n: number) =>
  sql(`INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, billing_status, total_billed,
      created_at, environment_vars)
    SELECT '${of.organization}', '${of.user}', ${literal(prefix)} || ' ' || i,
      (ARRAY['running', 'stopped', 'pending', 'error'])[1 + i % 4], 'exempt', i % 97 / 10.0,
      now() - make_interval(mins => i), jsonb_build_object('MILADY_API_TOKEN', md5(i::text))
    FROM generate_series(1, ${n}) AS i`);

/** As if somebody or something else had changed it. */
export const change = (id: string, assignments: string) =>
  sql(`UPDATE milady_sandboxes SET ${assignments}, updated_at = now() WHERE id = '${id}'`);
