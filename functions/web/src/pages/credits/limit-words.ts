/** Limits in words. Pure. */
import type { SchemaLimitName } from '../../api/openapi.gen';
import { count } from '../../ui/format';

export type Amount = { readonly limit: SchemaLimitName; readonly used: number; readonly allowed: number };

type Words = { readonly label: string; readonly note: string };

export const LIMITS: Readonly<Record<SchemaLimitName, Words>> = {
  agents: { label: 'Agents', note: 'in any state' },
  activeStarts: { label: 'Starts under way', note: 'starts and restores that wait or run' },
  runningStarts: { label: 'Starts at the same time', note: 'further ones wait for their turn' },
  openStreams: { label: 'Open streams', note: 'answers and logs that are being read, and requests that wait' },
  startsPerAgentAndHour: { label: 'Starts an hour', note: 'starts and restores of one agent, each attempt' },
  runningSnapshots: { label: 'Backups at the same time', note: 'manual ones that are being read' },
  snapshotsPerHour: { label: 'Backups of all agents an hour', note: 'manual ones, also those that failed' },
  snapshotsPerAgentAndHour: { label: 'Backups an hour', note: 'manual ones of one agent' },
  snapshotsPerAgentAndMinute: { label: 'Backups a minute', note: 'manual ones of one agent' },
};

/** What is used of it is used by one agent. */
export const isPerAgent = (limit: SchemaLimitName): boolean => limit.includes('PerAgent');

export function usedText({ limit, used, allowed }: Amount): string {
  const text = `${count(used)} of ${count(allowed)}`;
  return isPerAgent(limit) && used > 0 ? `${text}, by the busiest agent` : text;
}

/** Where a bar becomes a warning. */
export const nearly = (allowed: number): number => Math.ceil(allowed * 0.8);

/** Each backup reaches the limit of a minute, so that one says nothing. */
const isReached = ({ limit, used, allowed }: Amount) => used >= allowed && limit !== 'snapshotsPerAgentAndMinute';

/** A limit that is reached is no fault, so it is never more than a warning. */
export function amountTone(amount: Amount): 'ok' | 'warn' {
  const { limit, used, allowed } = amount;
  const isNear = !isPerAgent(limit) && limit !== 'runningStarts' && used >= nearly(allowed);
  return isNear || isReached(amount) ? 'warn' : 'ok';
}

export function limitsSentence(amounts: readonly Amount[]): string {
  const reached = amounts.filter(isReached);
  if (reached.length === 0) return 'Your organization is below its limits.';
  const names = reached.map(({ limit }) => LIMITS[limit].label.toLowerCase()).join(', ');
  return `Your organization has reached ${reached.length === 1 ? 'a limit' : 'limits'}: ${names}.`;
}
