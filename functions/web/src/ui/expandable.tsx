import { ChevronRight } from 'lucide-react';
import { useCallback, useMemo, useState } from 'react';
import css from './expandable.module.css';

/** Which rows of a table are open. `detail` changes with them, `toggle` never does. */
export function useOpenRows<R extends { readonly id: string }>(render: (row: R) => React.ReactNode) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const toggle = useCallback(
    (id: string) =>
      setOpen((old) => {
        const next = new Set(old);
        if (!next.delete(id)) next.add(id);
        return next;
      }),
    [],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: the rows hold all that is rendered
  const detail = useMemo(
    () => (row: R) => (open.has(row.id) ? <div className={css.detail}>{render(row)}</div> : null),
    [open],
  );
  return { open, toggle, detail };
}

type Props = { readonly open: boolean; readonly onToggle: () => void; readonly children: React.ReactNode };

/** The first cell of a row that can be opened. */
export function Opener({ open, onToggle, children }: Props) {
  return (
    <button type="button" className={css.opener} aria-expanded={open} onClick={onToggle}>
      <ChevronRight size={14} aria-hidden="true" className={css.arrow} />
      <span className="clip">{children}</span>
    </button>
  );
}
