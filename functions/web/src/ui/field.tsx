import { type ComponentProps, createContext, use, useId } from 'react';
import css from './field.module.css';

const Ids = createContext<{ id: string; described: string | undefined; invalid: boolean } | null>(null);

type FieldProps = {
  readonly label: string;
  readonly hint?: React.ReactNode;
  readonly error?: string | null | undefined;
  readonly children: React.ReactNode;
};

/** A label, one control, a hint and an error that belong together for everybody. */
export function Field({ label, hint, error, children }: FieldProps) {
  const id = useId();
  const described = error ? `${id}-error` : hint ? `${id}-hint` : undefined;
  return (
    <div className={css.field}>
      <label htmlFor={id} className={css.label}>
        {label}
      </label>
      <Ids value={{ id, described, invalid: Boolean(error) }}>{children}</Ids>
      {error ? (
        <p id={`${id}-error`} className={css.error}>
          {error}
        </p>
      ) : hint ? (
        <p id={`${id}-hint`} className={css.hint}>
          {hint}
        </p>
      ) : null}
    </div>
  );
}

function useField() {
  const ids = use(Ids);
  return ids ? { id: ids.id, 'aria-describedby': ids.described, 'aria-invalid': ids.invalid || undefined } : {};
}

export function TextInput({ className, ...rest }: ComponentProps<'input'>) {
  return <input type="text" {...useField()} {...rest} className={`${css.input} ${className ?? ''}`} />;
}

export function TextArea({ className, ...rest }: ComponentProps<'textarea'>) {
  return <textarea {...useField()} {...rest} className={`${css.input} ${css.area} ${className ?? ''}`} />;
}

/** The browser's own: it works everywhere, also on phones. */
export function Select({ className, ...rest }: ComponentProps<'select'>) {
  return <select {...useField()} {...rest} className={`${css.input} ${css.select} ${className ?? ''}`} />;
}

export function Checkbox({ label, ...rest }: Omit<ComponentProps<'input'>, 'type'> & { label: React.ReactNode }) {
  return (
    <label className={css.check}>
      <input {...rest} type="checkbox" />
      <span>{label}</span>
    </label>
  );
}

type ChipsProps<T extends string> = {
  readonly label: string;
  readonly value: T;
  readonly onChange: (value: T) => void;
  readonly options: readonly { readonly value: T; readonly label: string; readonly count?: number }[];
};

/** One of a few, all visible. Scrolls sideways where there is no room. */
export function Chips<T extends string>({ label, value, onChange, options }: ChipsProps<T>) {
  return (
    <fieldset className={css.chips}>
      <legend className="unseen">{label}</legend>
      {options.map((option) => (
        <label key={option.value} className={css.chip}>
          <input
            type="radio"
            className="unseen"
            checked={option.value === value}
            onChange={() => onChange(option.value)}
          />
          {option.label}
          {option.count === undefined ? null : <span className={css.count}>{option.count}</span>}
        </label>
      ))}
    </fieldset>
  );
}
