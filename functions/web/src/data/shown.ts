/** What an agent is in words, the same on all pages. Pure. */
import type { SchemaBillingStatus, SchemaJobVerb, SchemaStopReason } from '../api/openapi.gen';
import type { Agent } from '../api/operations';
import type { Tone } from '../ui/status';
import type { ActionKind } from './intents';

export type Shown = {
  readonly tone: Tone;
  readonly word: string;
  readonly note?: string;
  /** Somebody should look: it counts in "Needs you". */
  readonly needsYou: boolean;
};

const SILENT_AFTER = 5 * 60_000;

const DOING: Record<ActionKind, string> = {
  start: 'Starting',
  stop: 'Stopping',
  delete: 'Deleting',
  restore: 'Restoring',
  save: 'Saving its state',
};
const PENDING: Record<SchemaJobVerb, string> = {
  provision: 'Starting',
  suspend: 'Stopping',
  delete: 'Deleting',
  restore: 'Restoring',
};

/** What the owner did needs no words. */
const STOPPED_BY: Record<SchemaStopReason, string> = {
  owner: '',
  billing: 'for lack of credit',
  limit: 'by a limit',
  operator: 'by an operator',
  drain: 'while an operator moves or updates it',
  failure: 'after a failure',
};

/**
 * Since when a running agent has not been heard of, or null. Lists are not renewed for a heartbeat that comes in time,
 * so `lastHeartbeatAt` may be old without meaning anything: `silentSince` decides.
 */
export function silentSince(agent: Agent, now: number): string | null {
  if (agent.status !== 'running') return null;
  if (agent.silentSince !== undefined) return agent.silentSince;
  if (agent.lastHeartbeatAt === null) return null;
  return now - Date.parse(agent.lastHeartbeatAt) > SILENT_AFTER ? agent.lastHeartbeatAt : null;
}

export function silentMinutes(agent: Agent, now: number): number | null {
  const since = silentSince(agent, now);
  return since === null ? null : Math.max(0, Math.floor((now - Date.parse(since)) / 60_000));
}

export function shown(agent: Agent, doing: ActionKind | null, now: number): Shown {
  const calm = { needsYou: false };
  if (doing) return { tone: 'busy', word: DOING[doing], ...calm };
  if (agent.pendingAction) return { tone: 'busy', word: PENDING[agent.pendingAction], ...calm };
  switch (agent.status) {
    case 'pending':
      return { tone: 'off', word: 'Not started', ...calm };
    case 'provisioning':
      return { tone: 'busy', word: 'Starting', ...calm };
    case 'running': {
      const silent = silentMinutes(agent, now);
      if (silent === null) return { tone: 'ok', word: 'Running', ...calm };
      return { tone: 'silent', word: 'Running', note: `silent for ${silent} min`, needsYou: true };
    }
    case 'stopped': {
      if (agent.billingStatus === 'suspended')
        return { tone: 'warn', word: 'Suspended', note: 'for lack of credit', needsYou: true };
      const note = agent.stopReason ? STOPPED_BY[agent.stopReason] : '';
      return { tone: 'off', word: 'Stopped', ...(note ? { note } : {}), ...calm };
    }
    case 'disconnected':
      return { tone: 'unknown', word: 'Unreachable', note: 'not charged', needsYou: true };
    case 'error':
      return { tone: 'bad', word: 'Failed', needsYou: true };
    case 'unknown':
      return { tone: 'unknown', word: 'Unknown', needsYou: true };
    default:
      return agent.status satisfies never;
  }
}

export function billingWord(status: SchemaBillingStatus): { tone: Tone; word: string } {
  switch (status) {
    case 'active':
      return { tone: 'off', word: 'Active' };
    case 'warning':
      return { tone: 'warn', word: 'Low credit' };
    case 'shutdown_pending':
      return { tone: 'bad', word: 'Shutdown' };
    case 'suspended':
      return { tone: 'warn', word: 'Suspended' };
    case 'exempt':
      return { tone: 'off', word: 'Exempt' };
    default:
      return status satisfies never;
  }
}

/** What somebody who may do everything can do next. The server decides; this only leaves out what cannot work. */
export function possible(agent: Agent, doing: ActionKind | null) {
  const busy = doing !== null || agent.pendingAction !== null || agent.status === 'provisioning';
  const { status } = agent;
  // No worker has begun the start, so the server ends it.
  const waits = agent.pendingAction === 'provision' && ['pending', 'stopped', 'error'].includes(status);
  return {
    start: !busy && ['stopped', 'pending', 'error', 'disconnected'].includes(status),
    stop: doing === null && (waits || (!busy && ['running', 'disconnected', 'pending'].includes(status))),
    save: !busy && agent.status === 'running',
    open: !busy && agent.status === 'running',
    delete: doing !== 'delete' && agent.pendingAction !== 'delete',
  };
}

export type Action = keyof ReturnType<typeof possible>;

/** What an agent costs an hour as it is now. `hourlyRate` is what it would cost while it runs. */
export function costNow(agent: Agent, idlePrice: number | null): number | null {
  if (agent.billingStatus === 'exempt') return 0;
  if (agent.status === 'running') return agent.hourlyRate;
  // A failed agent has a backup from when it ran: keeping that costs the same.
  if (agent.status === 'stopped' || agent.status === 'error') return agent.lastBackupAt === null ? 0 : idlePrice;
  return 0;
}

export const isCustom = (agent: Agent, defaultImage: string | null): boolean =>
  agent.containerKind === undefined
    ? agent.dockerImage !== null && defaultImage !== null && agent.dockerImage !== defaultImage
    : agent.containerKind === 'custom';

export type Filter = 'all' | 'running' | 'needs' | 'stopped';

export function matches(filter: Filter, agent: Agent, state: Shown): boolean {
  switch (filter) {
    case 'all':
      return true;
    case 'running':
      return agent.status === 'running';
    case 'needs':
      return state.needsYou;
    case 'stopped':
      return agent.status === 'stopped' || agent.status === 'pending';
    default:
      return filter satisfies never;
  }
}
