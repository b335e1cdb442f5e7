import { Field, TextInput } from './field';

type Range = { readonly from: string; readonly to: string };
type Props = Range & { readonly onChange: (change: Partial<Range>) => void };

/** Two days in UTC, each empty or in the order of time. */
export function DateRange({ from, to, onChange }: Props) {
  return (
    <>
      <Field label="From (UTC)">
        <TextInput
          type="date"
          value={from}
          max={to || undefined}
          onChange={(e) => onChange({ from: e.target.value })}
        />
      </Field>
      <Field label="To (UTC)">
        <TextInput type="date" value={to} min={from || undefined} onChange={(e) => onChange({ to: e.target.value })} />
      </Field>
    </>
  );
}
