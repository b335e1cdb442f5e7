import { AlertDialog } from '@base-ui/react/alert-dialog';
import { CSPProvider } from '@base-ui/react/csp-provider';
import { Dialog } from '@base-ui/react/dialog';
import { X } from 'lucide-react';
import { useId, useRef } from 'react';
import { IconButton } from '../button';
import type { DialogProps } from '../dialog';
import css from './dialog.module.css';

/** Not used directly: ui/dialog.tsx loads it when a dialog opens for the first time, unless it is loaded by then. */
export default function DialogImpl({ open, onClose, title, children, footer, wide, urgent, plain }: DialogProps) {
  const Kind = urgent ? AlertDialog : Dialog;
  const popup = useRef<HTMLDivElement>(null);
  const content = useId();
  const initial = () =>
    popup.current?.querySelector<HTMLElement>('[data-first]') ??
    popup.current?.querySelector<HTMLElement>('input, select, textarea') ??
    true;
  return (
    <CSPProvider disableStyleElements>
      <Kind.Root open={open} onOpenChange={(next: boolean) => (next ? undefined : onClose())}>
        <Kind.Portal>
          <Kind.Backdrop className={css.veil} />
          <Kind.Viewport className={css.viewport}>
            <Kind.Popup
              ref={popup}
              className={css.dialog}
              data-wide={wide || undefined}
              initialFocus={initial}
              // What is asked is read out with the title.
              {...(urgent ? { 'aria-describedby': content } : {})}
            >
              {plain ? (
                <Kind.Title className="unseen">{title}</Kind.Title>
              ) : (
                <div className={css.head}>
                  <Kind.Title className={css.title}>{title}</Kind.Title>
                  {urgent ? null : (
                    <IconButton label="Close" onClick={onClose}>
                      <X size={16} aria-hidden="true" />
                    </IconButton>
                  )}
                </div>
              )}
              <div id={content} className={plain ? undefined : css.content}>
                {children}
              </div>
              {footer ? <div className={css.foot}>{footer}</div> : null}
            </Kind.Popup>
          </Kind.Viewport>
        </Kind.Portal>
      </Kind.Root>
    </CSPProvider>
  );
}
