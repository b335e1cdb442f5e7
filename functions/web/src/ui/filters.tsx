import css from './filters.module.css';

/** A row of small controls that narrow a list. */
export function Filters({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    <search aria-label={label} className={css.filters}>
      {children}
    </search>
  );
}
