/** What the form of the settings holds, and what is sent of it. Pure. */
import { ApiError } from '../../api/errors';
import type { Settings } from '../../api/operations';

export type Form = {
  readonly lowCreditMark: string;
  readonly billingEmail: string;
  readonly timeZone: string;
  readonly automaticResume: boolean;
};
/** What was typed and not saved yet. */
export type Drafts = Partial<Form>;
export type Changes = Partial<Pick<Settings, keyof Form>>;

const MAX_MARK = 1_000_000;

export const formOf = (settings: Settings): Form => ({
  lowCreditMark: settings.lowCreditMark === null ? '' : String(settings.lowCreditMark),
  billingEmail: settings.billingEmail ?? '',
  timeZone: settings.timeZone,
  automaticResume: settings.automaticResume,
});

/** The mark that a text stands for: null is the default, undefined that the text is no possible mark. */
export function markIn(text: string): number | null | undefined {
  const typed = text.trim();
  if (typed === '') return null;
  const mark = Number(typed);
  return /^\d+(\.\d{1,6})?$/.test(typed) && mark <= MAX_MARK ? mark : undefined;
}

/** Only what differs: a setting that is not sent is not changed. Null if something cannot be sent. */
export function changesOf(settings: Settings, form: Form): Changes | null {
  const mark = markIn(form.lowCreditMark);
  if (mark === undefined) return null;
  const email = form.billingEmail.trim() || null;
  return {
    ...(mark === settings.lowCreditMark ? {} : { lowCreditMark: mark }),
    ...(email === settings.billingEmail ? {} : { billingEmail: email }),
    ...(form.timeZone === settings.timeZone ? {} : { timeZone: form.timeZone }),
    ...(form.automaticResume === settings.automaticResume ? {} : { automaticResume: form.automaticResume }),
  };
}

/** The drafts that are not what the server has now: what was typed while others were being saved stays. */
export function unsaved(drafts: Drafts, settings: Settings): Drafts {
  const changes = changesOf(settings, { ...formOf(settings), ...drafts });
  if (changes === null) return drafts;
  return Object.fromEntries(Object.entries(drafts).filter(([name]) => name in changes));
}

/** What the server says of one field. */
export function fieldError(error: Error | null, field: string): string | null {
  const found = error instanceof ApiError ? error.fields.find((one) => one.field === field) : undefined;
  return found ? `It ${found.message}.` : null;
}
