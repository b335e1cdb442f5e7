/** What the rows of the bill say in words. Pure. */
import type { SchemaCharge, SchemaNotice, SchemaTransaction } from '../../api/openapi.gen';
import { many, money } from '../../ui/format';
import { seconds } from '../../ui/format-more';
import { stateWords } from '../mails/words';

const TYPES: Readonly<Record<string, { readonly word: string; readonly meaning: string }>> = {
  usage: { word: 'Use', meaning: 'Agents that ran, or whose backups were kept.' },
  top_up: { word: 'Top-up', meaning: 'Credit that was bought.' },
  grant: { word: 'Granted', meaning: 'Credit that an operator gave.' },
  refund: { word: 'Taken back', meaning: 'A purchase that was refunded or disputed.' },
  debt_payment: { word: 'Debt paid', meaning: 'Debt of a refund, paid before anything else.' },
  write_off: { word: 'Written off', meaning: 'Debt that nobody has to pay any more. The balance stays.' },
  adjustment: { word: 'Adjusted', meaning: 'A correction.' },
};

export const KNOWN_TYPES: readonly string[] = Object.keys(TYPES);

/** Other applications write words of their own: they are shown as they are. */
export const typeWord = (type: string): string => TYPES[type]?.word ?? type;
export const typeMeaning = (type: string): string => TYPES[type]?.meaning ?? 'A row of another application.';

const KINDS = { running: 'ran', idle: 'backup kept' } as const;
export const kindWord = (kind: SchemaCharge['kind']): string => (kind === null ? 'older biller' : KINDS[kind]);

export function subject(row: SchemaTransaction): string {
  if (row.type === 'usage' && row.agents !== null) return many(row.agents, 'agent');
  if (row.kind !== null) return kindWord(row.kind);
  return row.description?.trim() || typeMeaning(row.type);
}

/** Credit pays for an hour at its end. Longer after that means that there was none at that time. */
const LATE = 90 * 60_000;
export function paidLate(row: SchemaTransaction): boolean {
  return row.periodEnd !== null && Date.parse(row.createdAt) - Date.parse(row.periodEnd) > LATE;
}

/** "3,600 s × $0.0200 ÷ 3,600 s = $0.020000" */
export function arithmetic(line: {
  readonly seconds: number | null;
  readonly hourlyRate: number | null;
  readonly amount: number;
}): string | null {
  if (line.seconds === null || line.hourlyRate === null) return null;
  return `${seconds(line.seconds)} × ${money(line.hourlyRate, 4)} ÷ 3,600 s = ${money(Math.abs(line.amount), 6)}`;
}

/** The sum is the server's. It differs from what was taken when a part of the lines is no longer kept. */
export function sumSentence(amount: number, sum: number | undefined, shown: number): string {
  if (sum === undefined) return `${many(shown, 'line')} so far; their sum follows the last one.`;
  const agree = Math.abs(sum + amount) < 5e-7;
  const lines = many(shown, 'line');
  return agree
    ? `The sum of ${lines} is ${money(sum, 6)}: exactly what was taken.`
    : `${lines} sum up to ${money(sum, 6)}, and ${money(Math.abs(amount), 6)} were taken: older lines are no longer kept.`;
}

/** "a***@b***.com (bounced), c***@d***.com": the last one has the state of the notice itself. */
export function recipientsText(recipients: SchemaNotice['recipients']): string {
  if (recipients.length === 0) return '-';
  return recipients
    .map(({ address, state }, index) =>
      index === recipients.length - 1 ? address : `${address} (${stateWords(state).word.toLowerCase()})`,
    )
    .join(', ');
}
