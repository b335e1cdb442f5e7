/** Mails to owners in words. Pure. */
import type { SchemaMailState, SchemaMailTemplate } from '../../api/openapi.gen';
import type { Mail } from '../../api/operations';
import { clockTime, many } from '../../ui/format';
import type { Tone } from '../../ui/status';

const TEMPLATES: Readonly<Record<SchemaMailTemplate, string>> = {
  'credit.low': 'Low credit',
  'agent.shutdown_scheduled': 'Shutdown warning',
  'agent.suspended': 'Agents shut down',
  'agent.resumed': 'Agents run again',
  'agent.start_failed': 'Agents not started',
  'agent.container_died': 'Agents failed',
  'agent.stopped_by_operator': 'Agents stopped by an operator',
  'agent.storage_deletion_scheduled': 'Deletion of backups',
  'webhook.switched_off': 'Webhook switched off',
};

type StateWords = { readonly tone: Tone; readonly word: string; readonly meaning: string };

const STATES: Readonly<Record<SchemaMailState, StateWords>> = {
  pending: { tone: 'busy', word: 'Waiting', meaning: 'Waits for its next attempt.' },
  sending: { tone: 'busy', word: 'Being sent', meaning: 'An attempt is under way, or its worker died.' },
  handed_over: { tone: 'ok', word: 'Handed over', meaning: 'The mail provider took it.' },
  delivered: { tone: 'ok', word: 'Delivered', meaning: 'The server of the recipient took it.' },
  bounced: {
    tone: 'bad',
    word: 'Bounced',
    meaning: 'The server of the recipient refused it after the mail provider had taken it.',
  },
  complained: { tone: 'warn', word: 'Called spam', meaning: 'The recipient called it spam.' },
  unknown: {
    tone: 'unknown',
    word: 'Outcome unknown',
    meaning: 'The mail provider may have taken it: its answer was lost.',
  },
  failed: {
    tone: 'bad',
    word: 'Failed',
    meaning:
      'The mail provider refused it, it was asked in vain for too long, or there was nothing to announce any more.',
  },
  undeliverable: { tone: 'bad', word: 'Nobody to address', meaning: 'No address of the organization is left to try.' },
};

export const KNOWN_STATES = Object.keys(STATES) as readonly SchemaMailState[];
export const isMailState = (text: string): text is SchemaMailState => Object.hasOwn(STATES, text);

export const templateWord = (template: SchemaMailTemplate): string => TEMPLATES[template];
export const stateWords = (state: SchemaMailState): StateWords => STATES[state];

/** Why a mail cannot be sent again; null if it can. The rule is the server's. */
export function retryDenial({ state, dueAt }: Pick<Mail, 'state' | 'dueAt'>): string | null {
  switch (state) {
    case 'pending':
    case 'sending':
      return 'It is under way';
    case 'handed_over':
      return 'The mail provider has it';
    case 'delivered':
      return 'The recipient has it';
    case 'bounced':
    case 'complained':
    case 'unknown':
    case 'failed':
    case 'undeliverable':
      // An attempt whose outcome is unknown is still waited for.
      return dueAt === null ? null : 'It is under way';
    default:
      return state satisfies never;
  }
}

/** What sending a mail again does. */
export function retryEffects(mail: Mail, now: number): readonly string[] {
  const old = `It dates from ${clockTime(Date.parse(mail.createdAt), now)}: what it says may be out of date.`;
  if (mail.recipient === null)
    return [
      'The addresses of the organization are looked at again. The first one that was not tried for this mail gets it within a minute.',
      'If there is still nobody to address, nothing changes: an owner has to set an address first.',
      old,
    ];
  const first = `It is sent to ${mail.recipient} within a minute. If the address was suppressed for the organization, it is not any more: further mails go there, too.`;
  switch (mail.state) {
    case 'unknown':
      return [first, 'The recipient may have it already and gets it a second time then.', old];
    case 'complained':
      return [first, 'The recipient has it and called it spam: send it again only if they ask for it.', old];
    default:
      return [first, old];
  }
}

/** What is worth a look, the worst first. */
const WRONG: readonly (readonly [SchemaMailState, string])[] = [
  ['undeliverable', 'reached nobody'],
  ['failed', 'failed'],
  ['bounced', 'bounced'],
  ['complained', 'called spam'],
  ['unknown', 'with an unknown outcome'],
];

export function mailsSentence(mails: readonly Mail[], narrowed: boolean): string {
  if (mails.length === 0) return narrowed ? 'No mail is in this state.' : 'No mail was sent in the last 90 days.';
  const wrong = WRONG.flatMap(([state, words]) => {
    const n = mails.filter((mail) => mail.state === state).length;
    return n > 0 ? [`${n} ${words}`] : [];
  });
  const all = `The last ${many(mails.length, 'mail')} to owners`;
  return wrong.length > 0 ? `${all}: ${wrong.join(', ')}.` : `${all}; none of them failed.`;
}
