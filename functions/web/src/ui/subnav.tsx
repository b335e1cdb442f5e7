import { Link, useLocation } from 'wouter';
import css from './subnav.module.css';

export type SubPage = { readonly to: string; readonly label: string; readonly count?: number | undefined };

/** Pages that belong together, as links: each has its own address. */
export function Subnav({ label, pages }: { label: string; pages: readonly SubPage[] }) {
  const [location] = useLocation();
  return (
    <nav aria-label={label} className={css.nav}>
      {pages.map((page) => (
        <Link
          key={page.to}
          href={page.to}
          className={css.link}
          aria-current={location === page.to.split('?')[0] ? 'page' : undefined}
        >
          {page.label}
          {page.count === undefined ? null : <span className={css.count}>{page.count}</span>}
        </Link>
      ))}
    </nav>
  );
}
