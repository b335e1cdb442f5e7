import { X } from 'lucide-react';
import { useEffect, useState } from 'react';
import { createPortal } from 'react-dom';
import { useStore } from '../data/store';
import { closeToast, type Toast, toastStore } from '../data/toasts';
import { IconButton } from './button';
import { Link } from './link';
import { Status } from './status';
import css from './toaster.module.css';

const STAYS = 7_000;

/** Outside of the application's element: a dialog makes that inert, and news must stay readable and closable. */
export function Toaster() {
  const toasts = useStore(toastStore, (all) => all);
  const room = document.getElementById('toasts');
  if (!room) return null;
  return createPortal(
    <div className={css.room} role="status" aria-live="polite">
      {toasts.map((one) => (
        <Item key={one.id} one={one} />
      ))}
    </div>,
    room,
  );
}

function Item({ one }: { one: Toast }) {
  const [held, setHeld] = useState(false);
  const stays = one.tone === 'bad' || held;
  useEffect(() => {
    if (stays) return;
    const timer = setTimeout(() => closeToast(one.id), STAYS);
    return () => clearTimeout(timer);
  }, [stays, one.id]);
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
