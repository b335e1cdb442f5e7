import { X } from 'lucide-react';
import { useEffect, useState } from 'react';
import { createPortal } from 'react-dom';
import { useStore } from '../data/store';
import { closeToast, type Toast, toastStore } from '../data/toasts';
import { IconButton } from './button';
import { Link } from './link';
import { Status } from './status';
import css from './toaster.module.css';

const SHOWN_MS = 7_000;

/** Outside of the application's element: a dialog makes that inert, and news must stay readable and closable. */
export function Toaster() {
  const toasts = useStore(toastStore, (all) => all);
  const container = document.getElementById('toasts');
  if (!container) return null;
  return createPortal(
    <div className={css.container} role="status" aria-live="polite">
      {toasts.map((one) => (
        <Item key={one.id} one={one} />
      ))}
    </div>,
    container,
  );
}

function Item({ one }: { one: Toast }) {
  const [held, setHeld] = useState(false);
  const isKept = one.tone === 'bad' || held;
  useEffect(() => {
    if (isKept) return;
    const timer = setTimeout(() => closeToast(one.id), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isKept, one.id]);
  return (
    <div className={css.toast} onPointerEnter={() => setHeld(true)} onPointerLeave={() => setHeld(false)}>
      <div className={css.text}>
        <Status tone={one.tone}>
          <span className={css.words}>{one.text}</span>
        </Status>
        {one.link ? (
          <Link href={one.link.to} className={css.link}>
            {one.link.label}
          </Link>
        ) : null}
      </div>
      <IconButton small label="Close" onClick={() => closeToast(one.id)}>
        <X size={14} aria-hidden="true" />
      </IconButton>
    </div>
  );
}
