import { createParser } from 'eventsource-parser';
import { useEffect, useRef, useState } from 'react';
import { ApiError, fromResponse } from '../../api/errors';
import { useWhyNot } from '../../data/session';
import { Button } from '../../ui/button';
import { Field, TextInput } from '../../ui/field';
import { Refusal } from '../../ui/refusal';
import { Block } from '../../ui/states';
import { Status } from '../../ui/status';
import css from './connect.module.css';

type Talking = {
  readonly state: 'quiet' | 'waiting' | 'speaking' | 'done' | 'stopped';
  readonly text: string;
  readonly error: Error | null;
};
const QUIET: Talking = { state: 'quiet', text: '', error: null };

const field = (data: string, name: string): string | null => {
  try {
    const value = (JSON.parse(data) as Record<string, unknown>)[name];
    return typeof value === 'string' ? value : null;
  } catch {
    return null;
  }
};

/** The answer arrives in pieces, so this request is not one of the client's: it has no end to wait for. */
async function stream(id: string, text: string, signal: AbortSignal, put: (change: (old: Talking) => Talking) => void) {
  const response = await fetch(`/api/v1/milady/agents/${id}/stream`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'message.send', params: { text } }),
    signal,
  });
  if (!response.ok) throw fromResponse(response, await response.json().catch(() => null));
  const parser = createParser({
    onEvent: ({ event, data }) => {
      if (event === 'chunk') {
        const piece = field(data, 'text') ?? '';
        put((old) => ({ ...old, state: 'speaking', text: old.text + piece }));
      } else if (event === 'done') put((old) => ({ ...old, state: 'done', text: field(data, 'text') ?? old.text }));
      else if (event === 'error') {
        const message = field(data, 'message') ?? 'The agent answered with an error.';
        put((old) => ({ ...old, state: 'done', error: new ApiError({ kind: 'http', status: 502, message }) }));
      }
    },
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) parser.feed(part.value);
  put((old) => (old.state === 'done' ? old : { ...old, state: 'done' }));
}

export function Talk({ id }: { id: string }) {
  const [text, setText] = useState('');
  const [talking, setTalking] = useState(QUIET);
  const blocked = useWhyNot('talk');
  const abort = useRef<AbortController | null>(null);
  useEffect(() => () => abort.current?.abort(), []);
  const active = talking.state === 'waiting' || talking.state === 'speaking';

  const send = (event: React.FormEvent) => {
    event.preventDefault();
    if (!text.trim() || active) return;
    const controller = new AbortController();
    abort.current = controller;
    setTalking({ ...QUIET, state: 'waiting' });
    stream(id, text.trim(), controller.signal, setTalking).catch((error: unknown) => {
      if (controller.signal.aborted) return;
      const shown =
        error instanceof ApiError ? error : new ApiError({ kind: 'network', message: 'The connection broke off.' });
      setTalking((old) => ({ ...old, state: 'done', error: shown }));
    });
  };
  const stop = () => {
    abort.current?.abort();
    setTalking((old) => ({ ...old, state: 'stopped' }));
  };
  return (
    <Block title="Say something">
      <form onSubmit={send} className="stack">
        <Field label="Message" hint="A test of the connection. Nothing of it is kept on this page.">
          <TextInput value={text} autoComplete="off" onChange={(event) => setText(event.target.value)} />
        </Field>
        <div className="row">
          <Button type="submit" busy={active} blocked={blocked}>
            Send
          </Button>
          {active ? <Button onClick={stop}>Stop</Button> : null}
          {talking.state === 'waiting' ? <Status tone="busy">Waiting for its answer</Status> : null}
          {talking.state === 'stopped' ? <span className="muted">You stopped the answer.</span> : null}
        </div>
      </form>
      {talking.text ? (
        <p className={css.answer} aria-live="polite" aria-busy={active}>
          {talking.text}
        </p>
      ) : null}
      {talking.error ? <Refusal error={talking.error} title="No answer" /> : null}
    </Block>
  );
}
