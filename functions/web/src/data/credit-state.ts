/** What the credit means, in words. Pure. */
import type { SchemaCredit } from '../api/openapi.gen';
import { clockTime, money, span, unitPrice } from '../ui/format';

export type CreditState = {
  readonly tone: 'off' | 'warn' | 'bad';
  /** Two or three words for the top bar. */
  readonly lasts: string;
  readonly sentence: string;
};

const HOUR = 3_600_000;

export function creditState(credit: SchemaCredit, now: number): CreditState {
  const first = credit.scheduledShutdowns
    .map((shutdown) => Date.parse(shutdown.scheduledShutdownAt))
    .sort((a, b) => a - b)[0];
  if (first !== undefined) {
    const left = first <= now ? 'due now' : `in ${span(first - now)}`;
    return {
      tone: 'bad',
      lasts: `shutdown ${left}`,
      sentence: `The credit is used up. Agents are stopped ${left}: add credit before.`,
    };
  }
  if (credit.owed > 0)
    return {
      tone: 'bad',
      lasts: `${money(credit.owed)} owed`,
      sentence: `${money(credit.owed)} are owed. Add credit to keep agents running.`,
    };
  if (credit.emptyAt === null || credit.burnPerHour <= 0)
    return { tone: 'off', lasts: 'nothing in use', sentence: 'Nothing is being used, so the credit stays as it is.' };
  const empty = Date.parse(credit.emptyAt);
  // Null while something is used means that the balance is below the mark already.
  const low = credit.lowAt === null || Date.parse(credit.lowAt) <= now;
  const left = empty <= now ? 'used up' : `${span(empty - now)} left`;
  const until = empty - now > 90 * 24 * HOUR ? 'for more than 90 days' : `until ${clockTime(empty, now)}`;
  const sentence = `At ${unitPrice(credit.burnPerHour)} an hour the credit lasts ${until}.`;
  return { tone: empty <= now ? 'bad' : low ? 'warn' : 'off', lasts: left, sentence };
}

/** Parts of the 14 days that the line under the top bar shows: where something is on it, from 0 to 1. */
export type Mark = { readonly at: number; readonly kind: 'low' | 'empty' | 'shutdown'; readonly label: string };

export const HORIZON_DAYS = 14;

export function horizon(
  credit: SchemaCredit,
  now: number,
): { readonly filled: number; readonly marks: readonly Mark[] } {
  const place = (iso: string) => (Date.parse(iso) - now) / (HORIZON_DAYS * 24 * HOUR);
  const inside = (at: number) => at >= 0 && at <= 1;
  const marks: Mark[] = [];
  if (credit.lowAt) marks.push({ at: place(credit.lowAt), kind: 'low', label: 'Low credit' });
  if (credit.emptyAt) marks.push({ at: place(credit.emptyAt), kind: 'empty', label: 'Credit used up' });
  for (const shutdown of credit.scheduledShutdowns) {
    const name = shutdown.agentName ?? shutdown.agentId.slice(0, 8);
    marks.push({ at: place(shutdown.scheduledShutdownAt), kind: 'shutdown', label: `${name} is stopped` });
  }
  const end = credit.emptyAt ? place(credit.emptyAt) : credit.balance > 0 || credit.burnPerHour <= 0 ? 1 : 0;
  return { filled: Math.max(0, Math.min(1, end)), marks: marks.filter((mark) => inside(mark.at)) };
}
