/** Containers as operators see them: what the database says, what a host showed, and what only one of both knows. Pure. */
import type { SchemaAgentStatus, SchemaHealth, SchemaSeverity } from '../../api/openapi.gen';
import type { ContainerRow, FleetContainer, FleetNode, NodeContainer } from '../../api/operations';
import type { Tone } from '../../ui/status';

export type ContainerKind =
  /** An agent's row, whether or not its container is there. */
  | 'agent'
  /** On a host and of an agent, but no row claims it. */
  | 'unclaimed'
  /** On a host and of other software. Nothing is done with it here. */
  | 'other';

export type ContainerView = {
  readonly id: string;
  readonly kind: ContainerKind;
  readonly agentId: string | null;
  readonly name: string;
  readonly organizationId: string | null;
  readonly organization: string | null;
  readonly nodeId: string | null;
  readonly containerName: string | null;
  readonly dockerId: string | null;
  readonly image: string | null;
  readonly status: SchemaAgentStatus | null;
  /** Null if the inspection knows nothing of the row, which may be younger than it. */
  readonly health: SchemaHealth | null;
  readonly severity: SchemaSeverity;
  readonly reason: string;
  /** Docker's words. Null if the host was not read or has no such container. */
  readonly state: string | null;
  readonly stateText: string | null;
  /** Null if the host was not read. */
  readonly present: boolean | null;
  readonly heartbeatAt: string | null;
  readonly errorMessage: string | null;
  readonly createdAt: string | null;
  /** The other host that the container's agent is on. */
  readonly elsewhere: string | null;
  readonly row: ContainerRow | NodeContainer | null;
};

const STATUSES = new Set(['pending', 'provisioning', 'running', 'stopped', 'disconnected', 'error']);
const statusOf = (word: string): SchemaAgentStatus => (STATUSES.has(word) ? (word as SchemaAgentStatus) : 'unknown');

/** Containers of agents have their agent's name. */
const nameFor = (agentId: string): string => `milady-${agentId}`;

export function agentView(row: ContainerRow | NodeContainer, seen: FleetContainer | undefined): ContainerView {
  return {
    id: row.id,
    kind: 'agent',
    agentId: row.id,
    name: row.agentName?.trim() || `agent ${row.id.slice(0, 8)}`,
    organizationId: row.organizationId,
    organization: row.organizationName ?? null,
    nodeId: ('nodeId' in row ? row.nodeId : null) ?? seen?.nodeId ?? null,
    // A row that is at rest names none, and its container may be there nevertheless.
    containerName: row.containerName ?? (seen?.runtimePresent === true ? nameFor(row.id) : null),
    dockerId: null,
    image: row.dockerImage,
    status: statusOf(row.status),
    health: seen?.liveHealth ?? null,
    severity: seen?.liveHealthSeverity ?? 'info',
    reason: seen?.liveHealthReason ?? 'No inspection has seen it yet.',
    state: seen?.runtimeState ?? null,
    stateText: seen?.runtimeStatus ?? null,
    present: seen?.runtimePresent ?? null,
    heartbeatAt: row.lastHeartbeatAt,
    errorMessage: row.errorMessage,
    createdAt: row.createdAt,
    elsewhere: null,
    row,
  };
}

type Unclaimed = FleetNode['ghostContainers'][number];

export function unclaimedView(nodeId: string, found: Unclaimed): ContainerView {
  return {
    ...nothing(nodeId, found.containerId, found.name),
    kind: 'unclaimed',
    severity: found.elsewhere ? 'critical' : found.state === 'running' ? 'warning' : 'info',
    reason: found.elsewhere
      ? `No row claims it here: its agent lives on ${found.elsewhere}.`
      : 'It is an agent’s container, but no agent’s row claims it.',
    state: found.state,
    stateText: found.status,
    createdAt: found.createdAt,
    elsewhere: found.elsewhere ?? null,
  };
}

type Runtime = FleetNode['runtime']['containers'][number];

export function otherView(nodeId: string, container: Runtime): ContainerView {
  return {
    ...nothing(nodeId, container.id, container.name),
    kind: 'other',
    image: container.image,
    reason: 'Other software of this host.',
    state: container.state,
    stateText: container.status,
  };
}

const nothing = (nodeId: string, dockerId: string, name: string): ContainerView => ({
  id: `${nodeId} ${dockerId}`,
  kind: 'other',
  agentId: null,
  name,
  organizationId: null,
  organization: null,
  nodeId,
  containerName: name,
  dockerId,
  image: null,
  status: null,
  health: null,
  severity: 'info',
  reason: '',
  state: null,
  stateText: null,
  present: true,
  heartbeatAt: null,
  errorMessage: null,
  createdAt: null,
  elsewhere: null,
  row: null,
});

/** All containers of one host: agents, unclaimed ones, other software. */
export function onHost(
  rows: readonly NodeContainer[],
  seen: FleetNode | null,
  containers: readonly FleetContainer[],
): readonly ContainerView[] {
  const byId = new Map(containers.map((one) => [one.id, one]));
  const agents = rows.map((row) => agentView(row, byId.get(row.id)));
  if (!seen) return agents;
  const unclaimed = seen.ghostContainers.map((found) => unclaimedView(seen.nodeId, found));
  const known = new Set([...agents, ...unclaimed].map((one) => one.containerName));
  for (const row of rows) known.add(nameFor(row.id));
  const others = seen.runtime.containers
    .filter((one) => !known.has(one.name))
    .map((one) => otherView(seen.nodeId, one));
  return [...agents, ...unclaimed, ...others];
}

export function healthWord(view: ContainerView): { readonly tone: Tone; readonly word: string } {
  if (view.kind === 'unclaimed')
    return {
      tone: view.severity === 'critical' ? 'bad' : view.severity === 'warning' ? 'warn' : 'off',
      word: 'Unclaimed',
    };
  if (view.kind === 'other') return { tone: 'off', word: 'Other software' };
  switch (view.health) {
    case 'healthy':
      return { tone: 'ok', word: 'Healthy' };
    case 'warming':
      return { tone: 'busy', word: 'Starting' };
    case 'stopped':
      return { tone: 'off', word: 'Stopped' };
    case 'degraded':
      return { tone: 'warn', word: 'Degraded' };
    case 'stale':
      return { tone: view.severity === 'critical' ? 'bad' : 'silent', word: 'Silent' };
    case 'missing':
      return { tone: 'bad', word: 'Missing' };
    case 'failed':
      return { tone: 'bad', word: 'Failed' };
    case 'unknown':
      return { tone: 'unknown', word: 'Unknown' };
    case null:
      return { tone: 'unknown', word: 'Not read yet' };
    default:
      return view.health satisfies never;
  }
}

export type Show = 'all' | 'attention' | 'missing' | 'unclaimed';
export const isShow = (text: string): text is Show => ['all', 'attention', 'missing', 'unclaimed'].includes(text);

export function matchesShow(show: Show, view: ContainerView): boolean {
  switch (show) {
    case 'all':
      return true;
    case 'attention':
      return view.severity !== 'info';
    case 'missing':
      return view.health === 'missing';
    case 'unclaimed':
      return view.kind === 'unclaimed';
    default:
      return show satisfies never;
  }
}

/** Words in any order, in names and identifiers. */
export function matchesText(text: string, view: ContainerView): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const all = [
    view.name,
    view.id,
    view.containerName,
    view.dockerId,
    view.organization,
    view.organizationId,
    view.image,
  ]
    .join(' ')
    .toLowerCase();
  return words.every((word) => all.includes(word));
}

const RANK: Readonly<Record<SchemaSeverity, number>> = { critical: 0, warning: 1, info: 2 };
export const healthRank = (view: ContainerView): number => RANK[view.severity];

export function containersSentence(views: readonly ContainerView[], total: number): string {
  const of = (show: Show) => views.filter((view) => matchesShow(show, view)).length;
  const agents = views.filter((view) => view.kind === 'agent').length;
  const unread = views.filter((view) => view.kind === 'agent' && view.health === 'unknown').length;
  const parts = [
    of('missing') ? `${of('missing')} missing` : '',
    of('unclaimed') ? `${of('unclaimed')} unclaimed` : '',
    unread ? `${unread} not known` : '',
  ].filter(Boolean);
  const all = `${agents}${total > agents ? ` of ${total}` : ''} ${Math.max(agents, total) === 1 ? 'agent' : 'agents'}`;
  if (parts.length > 0) return `${all}; ${parts.join(', ')}.`;
  return agents === 0 ? 'No agent has a place on a host.' : `${all}; none is missing, unclaimed or unknown.`;
}
