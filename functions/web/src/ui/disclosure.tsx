import { type ReactNode, useState } from 'react';
import css from './disclosure.module.css';

/** A `<details>` whose content is made only when it is opened for the first time. */
export function Disclosure({ summary, children }: { summary: ReactNode; children: () => ReactNode }) {
  const [used, setUsed] = useState(false);
  return (
    <details className={css.details} onToggle={(event) => event.currentTarget.open && setUsed(true)}>
      <summary className={css.summary}>{summary}</summary>
      {used ? <div className={css.content}>{children()}</div> : null}
    </details>
  );
}
