import { lazy, Suspense } from 'react';
import { useNow } from '../data/clock';
import { useOnline } from '../data/online';
import { useSession } from '../data/session';
import { span } from '../ui/format';
import { Status } from '../ui/status';
import css from './notices.module.css';

const WARN = 10 * 60_000;

/** Loaded apart, because the first view has to be small. A page whose version is gone does without it. */
const Undeliverable = lazy(() => import('./undeliverable').catch(() => ({ default: () => null })));

/** What concerns the whole page: no network, a session that ends soon, mails that reach nobody. */
export function Notices() {
  const online = useOnline();
  const session = useSession();
  const now = useNow(30);
  const end = session.state === 'in' ? session.user.expiresAt : null;
  const left = end === null ? Number.POSITIVE_INFINITY : Date.parse(end) - now;
  const isOwner = 'user' in session && session.user.role === 'owner';
  return (
    <div role="status" className={css.container}>
      {online ? null : (
        <p className={css.notice}>
          <Status tone="silent" note="What you see is what was known before. Nothing that you ask for now is sent.">
            This device is offline.
          </Status>
        </p>
      )}
      {left < WARN && left > 0 ? (
        <p className={css.notice}>
          <Status tone="warn" note="Then this page asks for your key again and goes on where you are.">
            Your session ends in {span(left)}.
          </Status>
        </p>
      ) : null}
      {isOwner ? (
        <Suspense fallback={null}>
          <Undeliverable />
        </Suspense>
      ) : null}
    </div>
  );
}
