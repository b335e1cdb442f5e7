/** The line that a page opens with. Pure. */
import type { SchemaCredit } from '../api/openapi.gen';
import type { Agent } from '../api/operations';
import { unitPrice, until } from '../ui/format';
import { silentMinutes } from './shown';

const NUMBERS = [
  'no',
  'one',
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
];
export const inWords = (n: number): string => NUMBERS[n] ?? new Intl.NumberFormat('en-US').format(n);
const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function list(parts: readonly string[]): string {
  return parts.length < 2 ? (parts[0] ?? '') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;
}

export function agentsSentence(agents: readonly Agent[], credit: SchemaCredit | undefined, now: number): string {
  if (agents.length === 0) return 'You have no agents yet.';
  const of = (test: (agent: Agent) => boolean) => agents.filter(test).length;
  const running = of((agent) => agent.status === 'running');
  const troubles: [number, string, string][] = [
    [of((agent) => agent.status === 'disconnected'), 'is unreachable', 'are unreachable'],
    [of((agent) => agent.status === 'error'), 'failed', 'failed'],
    [of((agent) => silentMinutes(agent, now) !== null), 'is silent', 'are silent'],
    [of((agent) => agent.status === 'stopped' && agent.billingStatus === 'suspended'), 'is suspended', 'are suspended'],
  ];
  const bad = troubles.filter(([n]) => n > 0).map(([n, one, more]) => `${inWords(n)} ${n === 1 ? one : more}`);
  const first =
    running === 0 ? 'No agent runs' : `${capital(inWords(running))} ${running === 1 ? 'agent runs' : 'agents run'}`;
  const state =
    bad.length > 0
      ? `${first}; ${list(bad)}.`
      : `${first}${running === agents.length ? '' : ', the others are stopped'}.`;
  if (!credit) return state;
  if (credit.burnPerHour <= 0 || !credit.emptyAt) return `${state} Nothing is charged at the moment.`;
  const empty = Date.parse(credit.emptyAt);
  const lasts = empty <= now ? 'the credit is used up' : `credit lasts ${until(empty, now)}`;
  return `${state} ${unitPrice(credit.burnPerHour)} an hour; ${lasts}.`;
}
