import { useEffect, useRef } from 'react';
import css from './page.module.css';
import { Freshness, type QueryState } from './states';

type Props = {
  readonly title: string;
  /** For the browser's tab, where the visible title would say too little. */
  readonly tab?: string;
  /** One sentence that says what is the case, before any number. */
  readonly sentence?: React.ReactNode;
  readonly query?: QueryState<unknown>;
  readonly actions?: React.ReactNode;
  readonly children: React.ReactNode;
};

let first = true;

export function usePageTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} - Milady Cloud`;
  }, [title]);
}

/** Every page: title, sentence, freshness, actions. After a navigation the title has the focus. */
export function Page({ title, tab, sentence, query, actions, children }: Props) {
  const head = useRef<HTMLHeadingElement>(null);
  usePageTitle(tab ?? title);
  useEffect(() => {
    if (!first && !head.current?.ownerDocument.querySelector('[role="dialog"]'))
      head.current?.focus({ preventScroll: true });
    first = false;
  }, []);
  return (
    <div className={css.page}>
      <div className={css.head}>
        <div className={css.words}>
          <h1 ref={head} tabIndex={-1}>
            {title}
          </h1>
          {sentence ? <p className={css.sentence}>{sentence}</p> : null}
        </div>
        <div className={css.side}>
          {query ? <Freshness query={query} /> : null}
          {actions ? <div className="row">{actions}</div> : null}
        </div>
      </div>
      {children}
    </div>
  );
}
