import { useOnline } from '../../data/online';
import { KeyForm } from '../../shell/key-form';
import { usePageTitle } from '../../ui/page';
import { Status } from '../../ui/status';
import css from './page.module.css';

export default function SignIn() {
  const online = useOnline();
  usePageTitle('Sign in');
  return (
    <main className={css.page}>
      <div className={css.box}>
        <svg viewBox="0 0 32 32" width="40" height="40" aria-hidden="true">
          <rect width="32" height="32" rx="7" fill="var(--accent)" />
          <path d="M7 23V10l9 9 9-9v13" className={css.m} />
        </svg>
        <div>
          <h1>Sign in to Milady Cloud</h1>
          <p className="muted">See what runs, what it costs and what is wrong, and act on it.</p>
        </div>
        {online ? null : <Status tone="silent">This device is offline.</Status>}
        <KeyForm action="Sign in" />
      </div>
    </main>
  );
}
