import { Eye, EyeOff } from 'lucide-react';
import { useRef, useState } from 'react';
import { ApiError } from '../api/errors';
import { signIn } from '../data/session';
import { Button, IconButton } from '../ui/button';
import { Field, TextInput } from '../ui/field';
import { Refusal } from '../ui/refusal';
import css from './key-form.module.css';

const KEY = /^eliza_[0-9a-f]{64}$/;

function explained(error: Error): Error {
  if (!(error instanceof ApiError)) return error;
  if (error.status === 401 && !error.message.startsWith('The key is valid'))
    return new ApiError({
      ...error,
      message: 'This key is not valid. It may have been revoked, or a character is missing.',
    });
  if (error.status === 503)
    return new ApiError({
      ...error,
      message: 'Sessions are not set up on this server, or it is busy. Its operator knows more.',
    });
  return error;
}

/** The key is never in React's state: the field holds it until it is sent, then it is emptied. */
export function KeyForm({ action }: { action: string }) {
  const input = useRef<HTMLInputElement>(null);
  const [visible, setVisible] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);

  const send = async (key: string) => {
    if (busy || !key) return;
    setBusy(true);
    setError(null);
    try {
      await signIn(key);
      if (input.current) input.current.value = '';
    } catch (failure) {
      setError(explained(failure as Error));
      input.current?.select();
    } finally {
      setBusy(false);
    }
  };

  return (
    // Without a script the browser would put the key into the address; `post` and the CSP's form-action prevent that.
    <form
      method="post"
      className={css.form}
      onSubmit={(event) => {
        event.preventDefault();
        void send(input.current?.value.trim() ?? '');
      }}
    >
      <Field label="API key" hint="It begins with eliza_. This page does not keep it.">
        <div className={css.key}>
          <TextInput
            ref={input}
            type={visible ? 'text' : 'password'}
            className="mono"
            autoComplete="current-password"
            spellCheck={false}
            autoCapitalize="off"
            required
            onPaste={(event) => {
              const pasted = event.clipboardData.getData('text').trim();
              if (KEY.test(pasted)) void send(pasted);
            }}
          />
          <IconButton
            label={visible ? 'Hide the key' : 'Show the key'}
            aria-pressed={visible}
            onClick={() => setVisible(!visible)}
          >
            {visible ? <EyeOff size={16} aria-hidden="true" /> : <Eye size={16} aria-hidden="true" />}
          </IconButton>
        </div>
      </Field>
      {error ? <Refusal error={error} title="Not signed in" /> : null}
      <Button type="submit" look="primary" busy={busy}>
        {busy ? 'Signing in…' : action}
      </Button>
    </form>
  );
}
