import { QueryClientProvider } from '@tanstack/react-query';
import { type ComponentType, lazy, Suspense, useEffect, useState } from 'react';
import { matchRoute, Redirect, useLocation, useRouter } from 'wouter';
import { client } from './data/client';
import { confirmSession, identityOf, useSession } from './data/session';
import { HOME, type PageEntry, type PageProps, pages } from './pages';
import { Shell } from './shell/shell';
import { Boundary } from './ui/boundary';
import { Link } from './ui/link';
import { Page } from './ui/page';
import { Failure, Note, Skeleton } from './ui/states';
import { Toaster } from './ui/toaster';

const SignIn = lazy(() => import('./pages/sign-in/page'));
const SessionOver = lazy(() => import('./shell/session-over'));

const routed = pages.map((page) => ({ page, View: lazy(page.load) }));

export function App() {
  return (
    <QueryClientProvider client={client}>
      <Boundary>
        <Suspense fallback={null}>
          <Gate />
        </Suspense>
      </Boundary>
      <Toaster />
    </QueryClientProvider>
  );
}

function Gate() {
  const session = useSession();
  const [location] = useLocation();
  switch (session.state) {
    case 'unknown':
      return session.error ? (
        <main>
          <Page title="Milady Cloud">
            <Failure error={session.error} retry={confirmSession} />
          </Page>
        </main>
      ) : null;
    case 'out':
      if (location === '/sign-in') return <SignIn />;
      return (
        <Redirect
          to={location === '/' ? '/sign-in' : `/sign-in?next=${encodeURIComponent(location + window.location.search)}`}
          replace
        />
      );
    case 'in':
    case 'over':
      return (
        <>
          {/* What is typed into the forms of one user must not be sent by another one. */}
          <Shell key={identityOf(session.user)}>
            <Routes operator={session.user.superAdmin} />
          </Shell>
          {session.state === 'over' ? (
            <Suspense fallback={null}>
              <SessionOver />
            </Suspense>
          ) : null}
        </>
      );
    default:
      return session satisfies never;
  }
}

function Routes({ operator }: { operator: boolean }) {
  const [location] = useLocation();
  const { parser } = useRouter();
  if (location === '/') return <Redirect to={HOME} replace />;
  if (location === '/sign-in') return <Redirect to={next()} replace />;
  for (const { page, View } of routed) {
    for (const path of [page.path, ...(page.also ?? [])]) {
      const [matched, params] = matchRoute(parser, path, location);
      if (matched) return <Shown key={page.path} page={page} View={View} params={params} operator={operator} />;
    }
  }
  return (
    <Page title="No such page">
      <Note title="There is no page at this address">
        <p>The rail lists all pages there are.</p>
      </Note>
    </Page>
  );
}

/** Only a path of this site: an address of another one would send people there after they signed in. */
function next(): string {
  const to = new URLSearchParams(window.location.search).get('next') ?? HOME;
  const url = new URL(to, window.location.origin);
  return url.origin === window.location.origin && to.startsWith('/') && url.pathname !== '/sign-in'
    ? url.pathname + url.search
    : HOME;
}

type ShownProps = PageProps & {
  readonly page: PageEntry;
  readonly View: ComponentType<PageProps>;
  readonly operator: boolean;
};

function Shown({ page, View, params, operator }: ShownProps) {
  if (page.who === 'operators' && !operator)
    return (
      <Page title={page.title}>
        <Note title="Only operators may see this">
          <p>
            They are super admins of this cloud, with a key that names the permission admin. Your{' '}
            <Link href="/account">account</Link> says what you may do.
          </p>
        </Note>
      </Page>
    );
  return (
    <Boundary>
      <Suspense fallback={<Waiting title={page.title} />}>
        <View params={params} />
      </Suspense>
    </Boundary>
  );
}

function Waiting({ title }: { title: string }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 150);
    return () => clearTimeout(timer);
  }, []);
  return late ? (
    <Page title={title}>
      <Skeleton lines={6} height="1.5rem" />
    </Page>
  ) : null;
}
