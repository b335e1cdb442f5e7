/** What a change of an organization's credit will do, said before it is sent. Pure. */
import type { Organization } from '../../api/operations';
import { many, money } from '../../ui/format';

export type CreditKind = 'grant' | 'refund' | 'write-off';

export const TITLES: Readonly<Record<CreditKind, string>> = {
  grant: 'Grant credit',
  refund: 'Take credit back',
  'write-off': 'Write off debt',
};

const MOST = 1_000_000;

/** Null if it is no amount that the API takes: more than nothing, a million at most, six decimals. */
export function amountOf(text: string): number | null {
  const trimmed = text.trim().replace(/^\$/, '');
  if (!/^\d{1,7}(\.\d{1,6})?$/.test(trimmed)) return null;
  const amount = Number(trimmed);
  return amount > 0 && amount <= MOST ? amount : null;
}

/** In millionths, where sums of amounts are exact. */
const micro = (amount: number): number => Math.round(amount * 1e6);

const exact = (amount: number) => money(amount, micro(amount) % 10_000 === 0 ? 2 : 6);

export function effects(kind: CreditKind, organization: Organization, amount: number | null): readonly string[] {
  const { name, balance, owed } = organization;
  const before = balance === null ? null : micro(balance);
  switch (kind) {
    case 'grant': {
      const after = before === null ? 'more' : exact((before + micro(amount ?? 0)) / 1e6);
      return [
        `${exact(amount ?? 0)} is added to the credit of ${name}: the balance goes from ${before === null ? 'what it is' : exact(before / 1e6)} to ${after}.`,
        owed > 0
          ? `${money(owed)} that is owed is paid from it at the next full hour, the oldest first.`
          : 'Nothing is owed, so all of it can be used.',
        'It can be taken back, which is a row of its own; neither row is ever deleted.',
      ];
    }
    case 'refund': {
      const taken = before === null ? null : Math.min(before, micro(amount ?? 0));
      const rest = taken === null ? null : micro(amount ?? 0) - taken;
      return [
        taken === null || before === null
          ? `${exact(amount ?? 0)} is taken from the credit of ${name}, as far as there is any.`
          : `${exact(taken / 1e6)} is taken from the credit of ${name}: the balance goes from ${exact(before / 1e6)} to ${exact((before - taken) / 1e6)}.`,
        rest === null || rest > 0
          ? `${rest === null ? 'What exceeds it' : exact(rest / 1e6)} becomes debt, which is paid before anything else. Agents that cannot be paid are warned, and stopped later.`
          : 'No debt comes of it.',
        'For a purchase that was refunded or disputed.',
      ];
    }
    case 'write-off':
      return [
        `${name} need not pay what billing could not charge so far: ${owed > 0 ? `${exact(owed)} by the last count` : 'nothing, by the last count'}.`,
        'The balance stays as it is. Shutdowns that were scheduled for this debt are called off at the next full hour.',
        'This cannot be undone.',
      ];
    default:
      return kind satisfies never;
  }
}

export function organizationsSentence(rows: readonly Organization[], more: boolean, narrowed: boolean): string {
  if (rows.length === 0) return narrowed ? 'No organization has this name or id.' : 'There is no organization yet.';
  const owing = rows.filter((row) => row.owed > 0).length;
  const broken = rows.filter((row) => row.balance === null).length;
  const all = `${more ? 'The newest ' : ''}${many(rows.length, 'organization')}`;
  const wrong = [
    owing ? `${owing} owe${owing === 1 ? 's' : ''} something` : '',
    broken ? `${broken} without a valid balance` : '',
  ];
  const said = wrong.filter(Boolean).join(', ');
  return said ? `${all}; ${said}.` : `${all}; none owes anything.`;
}
