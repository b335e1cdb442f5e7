/** The settings in words. Pure. */
import type { OrganizationWebhook, Settings, WebhookTest } from '../../api/operations';
import { clockTime, money } from '../../ui/format';
import type { Tone } from '../../ui/status';

/** Without a mark of its own, an organization is warned when its credit lasts for fewer hours. */
const MARK_HOURS = 72;

/** What an empty mark stands for. What is not known yet is left out. */
export function defaultMark(lowCredit: number | undefined, burnPerHour: number | undefined): string {
  const rule = `Empty is the default: ${lowCredit === undefined ? 'the amount of the price list' : money(lowCredit)}, or what your agents cost in ${MARK_HOURS} hours if that is more.`;
  if (lowCredit === undefined || burnPerHour === undefined) return rule;
  return `${rule} At present that is ${money(Math.max(lowCredit, burnPerHour * MARK_HOURS))}.`;
}

export function settingsSentence({ lowCreditMark, billingEmail, timeZone }: Settings): string {
  const mark = lowCreditMark === null ? 'the default mark' : money(lowCreditMark);
  const to = billingEmail === null ? 'the address for invoices, or else to the owners' : 'the billing address first';
  return `Owners are warned when the balance falls below ${mark}. Mails go to ${to}, with times in ${timeZone === 'UTC' ? 'UTC' : `UTC and ${timeZone}`}.`;
}

/** The time zones to choose from: places and UTC, as the server takes them, and whatever is set. */
export function zones(known: readonly string[], current: string): readonly string[] {
  const places = known.filter((name) => name.includes('/') && !name.startsWith('Etc/'));
  return ['UTC', ...new Set([...places, current].sort())].filter((name, at) => at === 0 || name !== 'UTC');
}

export function webhookState(
  { failingSince, reason, switchedOffAt }: OrganizationWebhook,
  now: number,
): { readonly tone: Tone; readonly text: string } {
  const why = reason === null ? '' : `: ${reason}`;
  if (switchedOffAt !== null) {
    const since = clockTime(Date.parse(switchedOffAt), now);
    return { tone: 'bad', text: `Switched off since ${since}${why}. A test that succeeds switches it on.` };
  }
  if (failingSince !== null) {
    const since = clockTime(Date.parse(failingSince), now);
    return { tone: 'warn', text: `Failing since ${since}${why}. Events wait, and are sent again later.` };
  }
  return { tone: 'ok', text: 'Events are sent there.' };
}

export const testSentence = ({ delivered, status, reason }: WebhookTest): string =>
  delivered ? `The receiver took the test: HTTP ${status}.` : `Not delivered: ${reason}.`;
