import { LogOut, Moon, Search, Sun, SunMoon } from 'lucide-react';
import { lazy, Suspense, useEffect, useState } from 'react';
import { useLocation } from 'wouter';
import { signOut, useUser } from '../data/session';
import { toast } from '../data/toasts';
import { type PageEntry, pages } from '../pages';
import { IconButton } from '../ui/button';
import { Link } from '../ui/link';
import { setTheme, useTheme } from '../ui/theme';
import { CreditChip } from './credit-chip';
import { Horizon } from './horizon';
import { Notices } from './notices';
import css from './shell.module.css';

const Palette = lazy(() => import('./palette'));

export function Shell({ children }: { children: React.ReactNode }) {
  const user = useUser();
  const [palette, setPalette] = useState(false);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        setPalette(true);
      }
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
  return (
    <div className={css.shell}>
      <a href="#main" className={css.skip}>
        Skip to the content
      </a>
      <header className={css.top}>
        <Link href="/" className={css.brand} aria-label={`${user?.organizationName || 'Milady Cloud'}, home page`}>
          <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
            <rect width="32" height="32" rx="7" fill="var(--accent)" />
            <path d="M7 23V10l9 9 9-9v13" className={css.m} />
          </svg>
          <span className={css.org}>{user?.organizationName || 'Milady Cloud'}</span>
        </Link>
        <button type="button" className={css.search} onClick={() => setPalette(true)} aria-keyshortcuts="Control+K">
          <Search size={14} aria-hidden="true" />
          <span>Go to…</span>
          <kbd>Ctrl K</kbd>
        </button>
        <CreditChip />
        <ThemeButton />
        <IconButton
          label="Sign out"
          onClick={() =>
            void signOut().catch((error: Error) => toast({ tone: 'bad', text: `Not signed out. ${error.message}` }))
          }
        >
          <LogOut size={16} aria-hidden="true" />
        </IconButton>
        <Horizon />
      </header>
      <Rail operator={user?.superAdmin ?? false} />
      <main id="main" className={css.main} tabIndex={-1}>
        <Notices />
        {children}
      </main>
      {palette ? (
        <Suspense fallback={null}>
          <Palette onClose={() => setPalette(false)} />
        </Suspense>
      ) : null}
    </div>
  );
}

function Rail({ operator }: { operator: boolean }) {
  const entries = pages.filter((page) => page.rail && (page.who === 'everyone' || operator));
  const groups = [
    entries.filter((page) => page.who === 'everyone'),
    entries.filter((page) => page.who === 'operators'),
  ];
  return (
    <nav className={css.rail} aria-label="Pages">
      {groups.map((group, index) =>
        group.length > 0 ? (
          <ul key={index === 0 ? 'own' : 'cloud'} aria-label={index === 0 ? undefined : 'For operators'}>
            {group.map((page) => (
              <RailLink key={page.path} page={page} />
            ))}
          </ul>
        ) : null,
      )}
    </nav>
  );
}

function RailLink({ page }: { page: PageEntry }) {
  const [location] = useLocation();
  const here = location === page.path || location.startsWith(`${page.path}/`);
  const Icon = page.rail?.icon;
  return (
    <li>
      <Link href={page.path} className={css.entry} aria-current={here ? 'page' : undefined}>
        {Icon ? <Icon size={18} aria-hidden="true" /> : null}
        <span>{page.title}</span>
      </Link>
    </li>
  );
}

const THEMES = { system: 'light', light: 'dark', dark: 'system' } as const;
const THEME_WORDS = { system: 'device setting', light: 'light', dark: 'dark' } as const;

function ThemeButton() {
  const theme = useTheme();
  const Icon = { system: SunMoon, light: Sun, dark: Moon }[theme];
  return (
    <IconButton
      label={`Colours: ${THEME_WORDS[theme]}. Switch to ${THEME_WORDS[THEMES[theme]]}`}
      onClick={() => setTheme(THEMES[theme])}
    >
      <Icon size={16} aria-hidden="true" />
    </IconButton>
  );
}
