/** What the audit of billing can find, in sentences. Pure. An unknown kind is shown as its word. */
const KINDS: Readonly<Record<string, string>> = {
  external_change: 'Another application changed a balance',
  entry_without_charges: 'An entry has no charges',
  entry_differs_from_charges: 'An entry is not the sum of its charges',
  charges_of_other_entry: 'Charges name an entry of another type',
  entry_number_repeated: 'Two entries have one number',
  entry_out_of_order: 'Entries are not in the order of their times',
  entry_arithmetic: 'A balance is not the one before plus the amount',
  entry_without_account: 'An entry belongs to no account',
  charge_without_entry: 'A charge has no entry',
  charge_without_span: 'A charge has no metered time',
  charge_of_other_organization: 'A charge and its metered time differ in the organization',
  charge_outside_span: 'A charge lies outside of its metered time',
  charge_across_hours: 'A charge reaches over a full hour',
  charge_amount: 'An amount is not rate times time',
  charges_overlap: 'Charges overlap',
  span_charged_beyond_mark: 'Time is charged beyond its mark',
  span_charged_short_of_mark: 'Time before the mark is not charged',
  span_stated_beyond_mark: 'Time is stated beyond its mark',
  span_settled_early: 'Time is settled before all of it is stated',
  spans_overlap: 'Metered times of one agent overlap',
  open_span_missing: 'An agent should be metered and is not',
  open_span_unwanted: 'An agent is metered and should not be',
  open_span_differs: 'An agent is metered differently from its row',
  usage_day_differs: 'A day of use is not the sum of its charges',
  ledger_day_differs: 'A day of the ledger does not fit',
  opening_balance_differs: 'The days do not add up to the balance',
  total_billed_differs: 'An agent’s total is not the sum of its charges',
  charged_beyond_decided: 'An account is charged further than it is decided',
  misplaced_rows: 'Rows are in no month’s partition',
  unprotected_table: 'The ledger is not protected against changes',
  suspended_unwarned: 'An agent was suspended without a warning',
  invalid_balance: 'A balance is no amount',
  invalid_rate: 'A rate is no amount',
};

export const kindSentence = (kind: string): string => KINDS[kind] ?? kind.replaceAll('_', ' ');

/** A change by another application is worth knowing and no error. */
export const isFault = (kind: string): boolean => kind !== 'external_change';
