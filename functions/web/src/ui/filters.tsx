import { Button } from './button';
import css from './filters.module.css';

type Props = {
  readonly label: string;
  /** Takes all of them away; null while none narrows the list. */
  readonly onClear?: (() => void) | null;
  /** The words of that button. */
  readonly clear?: string;
  readonly children: React.ReactNode;
};

/** A row of small controls that narrow a list. */
export function Filters({ label, onClear = null, clear = 'Clear', children }: Props) {
  return (
    <search aria-label={label} className={css.filters}>
      {children}
      {onClear ? (
        <Button look="quiet" onClick={onClear}>
          {clear}
        </Button>
      ) : null}
    </search>
  );
}
