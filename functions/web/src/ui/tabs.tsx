import { useRef } from 'react';
import { Link } from './link';
import css from './tabs.module.css';

export type Tab = { readonly id: string; readonly label: string; readonly href: string };

type Props = {
  readonly label: string;
  readonly tabs: readonly Tab[];
  readonly current: string;
  readonly children: React.ReactNode;
};

/** Tabs that are links. Arrow keys move between them, as the ARIA pattern for tabs requires. */
export function Tabs({ label, tabs, current, children }: Props) {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: React.KeyboardEvent) => {
    const at = tabs.findIndex((tab) => tab.id === current);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const link = list.current?.querySelectorAll('a')[(to + tabs.length) % tabs.length];
    link?.click();
    link?.focus();
  };
  return (
    <div className={css.tabs}>
      <div ref={list} role="tablist" aria-label={label} className={css.list} onKeyDown={onKeyDown} tabIndex={-1}>
        {tabs.map((tab) => (
          <Link
            key={tab.id}
            href={tab.href}
            replace
            role="tab"
            id={`tab-${tab.id}`}
            aria-selected={tab.id === current}
            aria-controls="tab-panel"
            tabIndex={tab.id === current ? 0 : -1}
            className={css.tab}
          >
            {tab.label}
          </Link>
        ))}
      </div>
      <div role="tabpanel" id="tab-panel" aria-labelledby={`tab-${current}`} className={css.panel}>
        {children}
      </div>
    </div>
  );
}
