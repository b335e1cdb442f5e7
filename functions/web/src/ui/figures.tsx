import css from './figures.module.css';

export type Figure = {
  readonly label: string;
  readonly value: React.ReactNode;
  readonly note?: React.ReactNode;
  readonly tone?: 'warn' | 'bad' | undefined;
};

/** The few numbers of a page that are seen first. */
export function Figures({ of }: { of: readonly (Figure | null)[] }) {
  return (
    <dl className={css.figures}>
      {of.map((figure) =>
        figure ? (
          <div key={figure.label} className={css.figure} data-tone={figure.tone}>
            <dt>{figure.label}</dt>
            <dd className={css.value}>{figure.value}</dd>
            {figure.note ? <dd className={css.note}>{figure.note}</dd> : null}
          </div>
        ) : null,
      )}
    </dl>
  );
}
