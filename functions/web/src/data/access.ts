/** Who may do what, as the API says it of its operations. The server decides; this explains beforehand. Pure. */
import type { CallerKind } from '../api/callers.gen';
import * as operations from '../api/callers.gen';
import type { Session } from '../api/operations';

export type Rights = Pick<Session, 'role' | 'permissions' | 'superAdmin'>;

/** What people can do, and the operations that it takes. */
const ACTIONS = {
  create: ['create agents', operations.agentCreate],
  start: ['start agents', operations.agentProvision, operations.agentResume],
  stop: ['stop agents', operations.agentSuspend],
  save: ['save the state of agents', operations.agentSnapshot],
  restore: ['restore agents', operations.agentRestore],
  download: ['download backups', operations.agentBackupDownload],
  delete: ['delete agents', operations.agentDelete],
  open: ['open agents', operations.agentPairingToken],
  ask: ['ask agents', operations.agentBridge],
  talk: ['talk to agents', operations.agentStream],
  configure: ['change the settings', operations.settingsUpdate, operations.webhookTest],
} as const satisfies Readonly<Record<string, readonly [what: string, ...callers: CallerKind[]]>>;

export type GuardedAction = keyof typeof ACTIONS;

/** Why somebody may not call an operation for callers of this kind; null if they may. The order is the server's. */
export function denial({ role, permissions, superAdmin }: Rights, caller: CallerKind, what: string): string | null {
  switch (caller) {
    case 'agentOwner':
    case 'agentManager':
      if (role === 'viewer') return `Viewers may not ${what}`;
      if (caller === 'agentOwner' && role !== 'owner') return `Only owners and admins may ${what}`;
      return permissions.includes('agents') ? null : 'This key may only read';
    case 'owner':
      if (role !== 'owner') return `Only owners and admins may ${what}`;
      return permissions.includes('billing') ? null : `This key may not ${what}`;
    case 'superAdmin':
      return superAdmin ? null : `Only operators may ${what}`;
    case 'scheduler':
      return `Only a scheduler may ${what}`;
    case 'reader':
    case 'browser':
    case 'anybody':
      return null;
    default:
      return caller satisfies never;
  }
}

/** Why they may not do this; null if they may. */
export function whyNot(rights: Rights, action: GuardedAction): string | null {
  const [what, ...callers] = ACTIONS[action];
  for (const caller of callers) {
    const why = denial(rights, caller, what);
    if (why !== null) return why;
  }
  return null;
}
