import css from './facts.module.css';

export type Fact = { readonly name: string; readonly value: React.ReactNode; readonly more?: React.ReactNode };

/** Names and values, in columns where there is room. `large`: the few that a page is about. */
export function Facts({ facts, large }: { facts: readonly (Fact | null)[]; large?: boolean }) {
  return (
    <dl className={css.facts} data-large={large || undefined}>
      {facts.map((fact) =>
        fact ? (
          <div key={fact.name} className={css.fact}>
            <dt>{fact.name}</dt>
            <dd>{fact.value}</dd>
            {fact.more ? <dd className={css.more}>{fact.more}</dd> : null}
          </div>
        ) : null,
      )}
    </dl>
  );
}
