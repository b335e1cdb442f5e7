import { useMemo } from 'react';
import { useConfig, useCredit } from '../../data/credit';
import { Checkbox, Field, Select, TextInput } from '../../ui/field';
import { type Drafts, type Form, fieldError, markIn } from './form';
import css from './page.module.css';
import { defaultMark, zones } from './words';

const KNOWN_ZONES = Intl.supportedValuesOf('timeZone');
const DEVICE_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

type Props = {
  readonly form: Form;
  readonly change: (changed: Drafts) => void;
  readonly error: Error | null;
  /** Why nothing can be changed, if so. */
  readonly blocked: string | null;
};

export function SettingsFields({ form, change, error, blocked }: Props) {
  const lowCredit = useConfig().data?.lowCredit;
  const burn = useCredit().data?.burnPerHour;
  const locked = { disabled: blocked !== null, title: blocked ?? undefined };
  const options = useMemo(
    () =>
      zones(KNOWN_ZONES, form.timeZone).map((zone) => (
        <option key={zone} value={zone}>
          {zone}
        </option>
      )),
    [form.timeZone],
  );
  return (
    <>
      <Field
        label="Low-credit mark, in US dollars"
        hint={`Owners get a mail when the balance falls below it. ${defaultMark(lowCredit, burn)}`}
        error={
          markIn(form.lowCreditMark) === undefined
            ? 'It must be an amount from 0 to 1,000,000 with at most six decimals, or empty for the default.'
            : fieldError(error, 'lowCreditMark')
        }
      >
        <TextInput
          {...locked}
          value={form.lowCreditMark}
          inputMode="decimal"
          autoComplete="off"
          onChange={(event) => change({ lowCreditMark: event.target.value })}
        />
      </Field>
      <Field
        label="Billing address"
        hint="Where mails go first. Empty: to the address for invoices, or else to the owners. If an address refuses a mail, the next one gets it."
        error={fieldError(error, 'billingEmail')}
      >
        <TextInput
          {...locked}
          type="email"
          value={form.billingEmail}
          maxLength={254}
          autoComplete="email"
          spellCheck={false}
          onChange={(event) => change({ billingEmail: event.target.value })}
        />
      </Field>
      <Field
        label="Time zone"
        hint={`Mails name times in UTC and in this zone. This device uses ${DEVICE_ZONE}.`}
        error={fieldError(error, 'timeZone')}
      >
        <Select {...locked} value={form.timeZone} onChange={(event) => change({ timeZone: event.target.value })}>
          {options}
        </Select>
      </Field>
      <div className={css.choice}>
        <Checkbox
          {...locked}
          aria-describedby="automatic-resume"
          label="Start suspended agents again once the debt is paid"
          checked={form.automaticResume}
          onChange={(event) => change({ automaticResume: event.target.checked })}
        />
        <p id="automatic-resume" className={css.hint}>
          For agents that were suspended because of debt, the first suspended first, within a few minutes after credit
          was added. Agents that somebody stopped stay stopped.
        </p>
      </div>
    </>
  );
}
