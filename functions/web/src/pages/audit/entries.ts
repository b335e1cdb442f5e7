/** Entries of the audit log in words. Pure. */
import type { AuditEntry } from '../../api/operations';
import { many } from '../../ui/format';
import type { Tone } from '../../ui/status';

const ACTIONS: Readonly<Record<string, string>> = {
  'credit.grant': 'Granted credit',
  'credit.refund': 'Took back credit',
  'credit.write_off': 'Wrote off debt',
  'agent.billing': 'Changed what an agent costs',
  'agent.no_host': 'Gave up an agent without a host',
  'agent.surplus_container': 'Removed the container of a stopped agent',
  'organization.create': 'Added an organization',
  'organization.limits': 'Changed limits',
  'user.create': 'Added a user',
  'api_key.create': 'Made an API key',
  'api_key.revoke': 'Revoked an API key',
  'mail.retry': 'Had a mail sent again',
  'node.register': 'Added a host',
  'node.update': 'Changed a host',
  'node.remove': 'Removed a host',
  'node.sync': 'Recounted slots',
  'node.drain': 'Drained a host',
  'node.drain_cancel': 'Cancelled a drain',
  'node.lost': 'Declared a host lost',
  'node.return': 'Took a lost host back',
  'agent.move': 'Moved an agent',
  'agent.suspend': 'Suspended an agent',
  'image_roll_out.start': 'Started the roll-out of an image',
  'image_roll_out.pause': 'Paused the roll-out of an image',
  'image_roll_out.resume': 'Resumed the roll-out of an image',
  'image_roll_out.cancel': 'Cancelled the roll-out of an image',
  'container.logs': 'Read a container’s log',
  'container.inspect': 'Asked Docker about a container',
  'container.restart': 'Restarted a container',
  'container.stop': 'Stopped a container',
  'container.start': 'Started a container',
  'container.pull-image': 'Pulled an image',
  'container.remove-ghost': 'Removed an unclaimed container',
  'backup.download': 'Downloaded a backup',
};

export const KNOWN_ACTIONS: readonly string[] = Object.keys(ACTIONS);
export const actionWord = (action: string): string => ACTIONS[action] ?? action;

/** Longer than any action may take: pulling an image is the slowest. */
const UNDER_WAY = 15 * 60_000;

export type EntryState = { readonly tone: Tone; readonly word: string; readonly open: boolean };

/** `begun` that stays means that nobody knows what happened: it stands out. */
export function entryState(entry: Pick<AuditEntry, 'result' | 'at'>, now: number): EntryState {
  switch (entry.result) {
    case 'begun':
      return now - Date.parse(entry.at) < UNDER_WAY
        ? { tone: 'busy', word: 'Under way', open: false }
        : { tone: 'unknown', word: 'Begun, never ended', open: true };
    case 'failed':
      return { tone: 'bad', word: 'Failed', open: false };
    case 'refused':
      return { tone: 'warn', word: 'Refused', open: false };
    default:
      return { tone: 'ok', word: entry.result === 'ok' ? 'Done' : capital(entry.result), open: false };
  }
}

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);

/** Of entries about what the control plane did by itself. */
const CONTROL_PLANE = '00000000-0000-0000-0000-000000000000';

export const isByControlPlane = (entry: AuditEntry): boolean => entry.actorId === CONTROL_PLANE;

export const actorName = (entry: AuditEntry): string =>
  isByControlPlane(entry) ? 'the control plane' : entry.actorName?.trim() || `user ${entry.actorId.slice(0, 8)}`;

export function auditSentence(entries: readonly AuditEntry[], now: number, narrowed: boolean): string {
  const open = entries.filter((entry) => entryState(entry, now).open).length;
  const failed = entries.filter((entry) => entry.result === 'failed').length;
  if (entries.length === 0) return narrowed ? 'No entry fits these filters.' : 'No operator has done anything yet.';
  const wrong = [
    open
      ? `${many(open, 'action')} began and never ended: nobody knows what became of ${open === 1 ? 'it' : 'them'}`
      : '',
    failed ? `${failed} failed` : '',
  ].filter(Boolean);
  const all = `The last ${many(entries.length, 'action')} of operators`;
  return wrong.length > 0 ? `${all}; ${wrong.join(', ')}.` : `${all}; all of them ended.`;
}

/** Where the subject can be seen. */
export function subjectPath(entry: AuditEntry): string | null {
  const subject = encodeURIComponent(entry.subject);
  if (/^(credit|organization|user|api_key)\./.test(entry.action)) return `/organizations?q=${subject}`;
  if (entry.action.startsWith('agent.')) return `/containers?q=${subject}`;
  if (entry.action.startsWith('node.') && entry.action !== 'node.remove' && entry.action !== 'node.sync')
    return `/fleet/nodes/${subject}`;
  if (entry.action.startsWith('container.')) {
    const [nodeId = '', name = ''] = entry.subject.split('/');
    return `/containers?node=${encodeURIComponent(nodeId)}&q=${encodeURIComponent(name)}`;
  }
  return null;
}
