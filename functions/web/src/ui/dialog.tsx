import { lazy, Suspense, useState } from 'react';
import { Button } from './button';
import { Field, TextInput } from './field';
import { Refusal } from './refusal';

export type DialogProps = {
  readonly open: boolean;
  readonly onClose: () => void;
  readonly title: string;
  readonly children: React.ReactNode;
  readonly footer?: React.ReactNode;
  readonly wide?: boolean;
  /** Must be answered: closes neither by a click beside it nor by a cross. */
  readonly urgent?: boolean;
  /** Without the visible head; the title is still read out. */
  readonly plain?: boolean;
};

const Impl = lazy(() => import('./overlays/dialog'));

/** An element with `data-first` gets the focus, else the first input. */
export function Dialog(props: DialogProps) {
  const [used, setUsed] = useState(props.open);
  if (props.open && !used) setUsed(true);
  if (!used) return null;
  return (
    <Suspense fallback={null}>
      <Impl {...props} />
    </Suspense>
  );
}

type ConfirmProps = {
  readonly open: boolean;
  readonly onClose: () => void;
  readonly title: string;
  /** What will happen, and what is kept. */
  readonly children: React.ReactNode;
  readonly action: string;
  readonly onConfirm: () => void;
  readonly danger?: boolean;
  /** This name must be typed first. */
  readonly typed?: string;
  /** False while it is not known yet what will happen. */
  readonly known?: boolean;
  readonly busy?: boolean;
  readonly error?: Error | null;
};

/** Asks before something that cannot be taken back. The focus is on Cancel, or on the name to type. */
export function Confirm({
  open,
  onClose,
  title,
  children,
  action,
  onConfirm,
  danger = true,
  typed,
  known = true,
  busy,
  error,
}: ConfirmProps) {
  const [text, setText] = useState('');
  const ready = known && (typed === undefined || text.trim() === typed.trim());
  const close = () => {
    setText('');
    onClose();
  };
  const confirm = () => {
    if (!ready) return;
    setText('');
    onConfirm();
  };
  return (
    <Dialog
      urgent
      open={open}
      onClose={close}
      title={title}
      footer={
        <>
          <Button onClick={close} {...(typed === undefined ? { 'data-first': true } : {})}>
            Cancel
          </Button>
          <Button look={danger ? 'danger' : 'primary'} onClick={confirm} disabled={!ready} busy={busy ?? false}>
            {action}
          </Button>
        </>
      }
    >
      <div className="stack">{children}</div>
      {typed === undefined ? null : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            confirm();
          }}
        >
          <Field label={`Type “${typed}” to confirm`}>
            <TextInput
              value={text}
              onChange={(event) => setText(event.target.value)}
              autoComplete="off"
              spellCheck={false}
            />
          </Field>
        </form>
      )}
      {error ? <Refusal error={error} /> : null}
    </Dialog>
  );
}
