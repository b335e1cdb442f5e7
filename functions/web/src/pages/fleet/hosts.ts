/** What is known of a host, and what is not. Pure. */
import type { SchemaBacklog, SchemaFleetSummary, SchemaLane, SchemaNode } from '../../api/openapi.gen';
import type { FleetNode, Incident } from '../../api/operations';
import { count, many } from '../../ui/format';
import type { Marks } from '../../ui/meter';
import type { Tone } from '../../ui/status';

/** As on the server (domain/fleet/load.rs). A value on a threshold has reached it. */
export const DISK: Marks = { warning: 85, critical: 95 };
export const MEMORY: Marks = { warning: 85, critical: 95 };
export const IO: Marks = { warning: 40, critical: 70 };
const LOAD_PER_CPU: Marks = { warning: 2, critical: 4 };

export const loadMarks = (cpus: number | null | undefined): Marks | null =>
  cpus ? { warning: LOAD_PER_CPU.warning * cpus, critical: LOAD_PER_CPU.critical * cpus } : null;

/** A registered host and what the last inspection saw of it. Null: that inspection does not know the host. */
export type Host = { readonly id: string; readonly node: SchemaNode; readonly seen: FleetNode | null };

export function merged(nodes: readonly SchemaNode[], seen: readonly FleetNode[] | undefined): readonly Host[] {
  const byId = new Map(seen?.map((one) => [one.nodeId, one]));
  // By the row's own id, too: a host may have been removed and another added under its name.
  return nodes.map((node) => {
    const one = byId.get(node.nodeId);
    return { id: node.nodeId, node, seen: one?.id === node.id ? one : null };
  });
}

/** Whether figures of the host itself were read. Docker may be down nevertheless. */
export const isRead = (host: Host): boolean => host.seen?.runtime.reachable === true;

const NOT_READ = new Set([
  'unreachable',
  'timed_out',
  'auth_failed',
  'host_key_mismatch',
  'forwarding_refused',
  'docker_unavailable',
  'protocol',
  'not_inspected',
  'address_refused',
  'no_key',
]);

/** Since when nothing is known, from the incident that says so. */
export function unreadSince(host: Host, incidents: readonly Incident[] | undefined): string | null {
  const found = incidents?.find((one) => one.nodeId === host.id && one.scope === 'node' && NOT_READ.has(one.code));
  return found?.since ?? null;
}

export const NO_NEW_AGENTS = 'gets no new agents';

export type HostState = {
  readonly tone: Tone;
  readonly word: string;
  readonly note: string | null;
  /** For sorting: the worst first. */
  readonly rank: number;
};

/** Hosts that an operator took out of service. */
const WITHDRAWN: Partial<Readonly<Record<SchemaNode['service'], HostState>>> = {
  returned: { tone: 'warn', word: 'Returned', note: 'remove it, or take it back into service', rank: 2 },
  draining: { tone: 'busy', word: 'Draining', note: 'its agents are moved to other hosts', rank: 3 },
  lost: { tone: 'off', word: 'Lost', note: 'its agents start on other hosts', rank: 4 },
  drained: { tone: 'off', word: 'Drained', note: 'it is empty and can be removed', rank: 5 },
};

export function hostState(host: Host): HostState {
  const { node, seen } = host;
  const alert = seen?.alerts.find((one) => one.severity !== 'info');
  const mismatch = seen?.alerts.some((one) => one.code === 'host_key_mismatch') ?? false;
  if (mismatch) return { tone: 'bad', word: 'Other key', note: 'nothing was sent to it', rank: 0 };
  const withdrawn = WITHDRAWN[node.service];
  if (withdrawn) return withdrawn;
  if (seen && !seen.runtime.reachable && seen.observedAt !== null)
    return { tone: 'unknown', word: 'Does not answer', note: seen.runtime.error, rank: node.enabled ? 1 : 4 };
  if (seen?.runtime.reachable && !seen.runtime.dockerReadable)
    return { tone: 'bad', word: 'Docker down', note: seen.runtime.error, rank: 1 };
  if (!node.enabled) {
    if (alert)
      return { tone: alert.severity === 'critical' ? 'bad' : 'warn', word: 'Disabled', note: alert.text, rank: 3 };
    return { tone: 'off', word: 'Disabled', note: NO_NEW_AGENTS, rank: 5 };
  }
  if (!seen || seen.observedAt === null)
    return { tone: 'unknown', word: 'Not read yet', note: 'the next inspection is within a minute', rank: 3 };
  if (alert?.severity === 'critical') return { tone: 'bad', word: 'Critical', note: alert.text, rank: 1 };
  if (alert) return { tone: 'warn', word: 'Warning', note: alert.text, rank: 2 };
  return { tone: 'ok', word: 'Healthy', note: null, rank: 6 };
}

export type Load = { readonly value: number | null; readonly text: string; readonly tone?: 'warn' | 'bad' };

/** The processors are not known, so the server's alert says how bad a load is. */
export function loadOf(seen: FleetNode | null): Load {
  const text = seen?.runtime.loadAverage ?? null;
  const alert = seen?.alerts.find((one) => one.code === 'load');
  if (text === null) return { value: null, text: 'not read' };
  const tone = alert === undefined ? undefined : alert.severity === 'critical' ? 'bad' : 'warn';
  // From 100 on, hundredths say nothing.
  const value = Number(text);
  return { value, text: value < 100 ? text : String(Math.round(value)), ...(tone ? { tone } : {}) };
}

export function counts(incidents: readonly Incident[]) {
  const of = (severity: Incident['severity']) => incidents.filter((one) => one.severity === severity).length;
  return { critical: of('critical'), warning: of('warning'), info: of('info') };
}

/** The fleet in a sentence, worst first. */
export function fleetSentence(summary: SchemaFleetSummary, incidents: readonly Incident[]): string {
  const { critical, warning } = counts(incidents);
  const wrong = [critical ? `${critical} critical` : '', warning ? many(warning, 'warning') : ''].filter(Boolean);
  const slots = `${summary.allocatedSlots} of ${many(summary.totalCapacity, 'slot')} are taken.`;
  const unread = summary.offlineNodes + summary.unknownNodes;
  const silent = unread > 0 ? ` ${many(unread, 'host is', 'hosts are')} not read, so less is known than it seems.` : '';
  return `${wrong.length > 0 ? `${wrong.join(', ')}.` : 'Nothing is wrong.'} ${slots}${silent}`;
}

const STOP_LATE_MS = 10 * 60_000;
const START_LATE_MS = 30 * 60_000;

/** A late stop is worse than a late start: nobody pays for its agent, which may still run. */
export function backlogTone({ stops, starts }: SchemaBacklog, at: number): 'bad' | 'warn' | undefined {
  const isLate = ({ oldestDueAt }: SchemaLane, after: number) =>
    oldestDueAt !== null && at - Date.parse(oldestDueAt) >= after;
  if (isLate(stops, STOP_LATE_MS)) return 'bad';
  return isLate(starts, START_LATE_MS) ? 'warn' : undefined;
}

/** Where an incident can be looked at. */
export function subjectOf(incident: Incident): string | null {
  if (incident.code === 'billing_findings') return '/billing/runs?view=findings';
  if (incident.containerId !== undefined) {
    const unclaimed = /^[0-9a-f]{64}$/.test(incident.containerId);
    return `/containers?q=${incident.containerId}${unclaimed ? '&show=unclaimed' : ''}`;
  }
  return incident.nodeId === undefined ? null : `/fleet/nodes/${encodeURIComponent(incident.nodeId)}`;
}

/** What the title does not say yet: the figure, and what is left out. */
export function detailOf({ title, detail }: Pick<Incident, 'title' | 'detail'>): string | null {
  const headline = title.slice(title.indexOf(': ') + 2);
  if (!detail.startsWith(headline)) return detail;
  return detail.slice(headline.length).replace(/^[:.]?\s*/, '') || null;
}

export const keyOf = (incident: Incident): string =>
  [incident.code, incident.nodeId ?? '', incident.containerId ?? '', incident.title].join(' ');

/** One incident, or many of one kind that would push all others away. */
export type Group = { readonly key: string; readonly first: Incident; readonly all: readonly Incident[] };

const MANY = 4;
const RANK = { critical: 0, warning: 1, info: 2 } as const;

/** Worst first, and hosts before containers. Many containers with one trouble become one line. */
export function grouped(incidents: readonly Incident[]): readonly Group[] {
  const kinds = new Map<string, Incident[]>();
  for (const one of incidents) {
    const kind = `${one.severity} ${one.code}`;
    kinds.set(kind, [...(one.scope === 'container' ? (kinds.get(kind) ?? []) : []), one]);
  }
  const groups: Group[] = [];
  const done = new Set<string>();
  for (const one of incidents) {
    const kind = `${one.severity} ${one.code}`;
    const same = kinds.get(kind) ?? [];
    if (one.scope !== 'container' || same.length < MANY) groups.push({ key: keyOf(one), first: one, all: [one] });
    else if (!done.has(kind)) {
      done.add(kind);
      groups.push({ key: kind, first: one, all: same });
    }
  }
  const place = ({ first }: Group) => RANK[first.severity] * 2 + (first.scope === 'container' ? 1 : 0);
  return groups.sort((a, b) => place(a) - place(b));
}

const PLURALS: Readonly<Record<string, string>> = {
  container_failed: 'agents have failed',
  container_unknown: 'agents are in an unknown state',
  container_missing: 'agents are missing',
  container_degraded: 'agents are degraded',
  container_stale: 'agents are silent',
  ghost_running: 'unclaimed containers are running',
  ghost_not_running: 'unclaimed containers are left over',
  second_container: 'agents have a second container',
};

/** "403 agents have failed", and the first of them. */
export function groupTitle({ first, all }: Group): string {
  return `${count(all.length)} ${PLURALS[first.code] ?? first.code.replaceAll('_', ' ')}`;
}
