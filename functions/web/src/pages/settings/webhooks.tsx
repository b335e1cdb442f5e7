import { useState } from 'react';
import { api, unwrap } from '../../api/client';
import { keys } from '../../api/keys';
import type { OrganizationWebhook, Settings, WebhookKind } from '../../api/operations';
import { client } from '../../data/client';
import { useNow } from '../../data/clock';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { Copy } from '../../ui/copy';
import { Field, TextInput } from '../../ui/field';
import { Refusal } from '../../ui/refusal';
import { Block } from '../../ui/states';
import { Status } from '../../ui/status';
import { fieldError } from './form';
import css from './page.module.css';
import { testSentence, webhookState } from './words';

type Change = { readonly webhookUrl: string | null } | { readonly slackUrl: string | null };

const send = async (body: Change) => (await unwrap(api.PATCH('/api/v1/settings', { body }))).data;
const sendTest = async (kind: WebhookKind) =>
  (await unwrap(api.POST('/api/v1/settings/webhook/test', { body: { kind } }))).data;

const WORDS = {
  webhook: {
    name: 'the webhook',
    label: 'URL of your webhook',
    field: 'webhookUrl',
    hint: 'The events that lead to mails are also posted there, signed. It must be an https address that is public.',
  },
  slack: {
    name: 'Slack',
    label: 'URL of an incoming webhook of Slack',
    field: 'slackUrl',
    hint: 'The events that lead to mails are also told there. It begins with https://hooks.slack.com/ and is not shown again.',
  },
} as const;

type Props = { readonly settings: Settings; readonly blocked: string | null };

/** Where events are sent beside mails. */
export function Webhooks({ settings, blocked }: Props) {
  return (
    <Block title="Webhooks">
      <div className={css.webhooks}>
        <Webhook kind="webhook" webhook={settings.webhook} blocked={blocked} />
        <Webhook kind="slack" webhook={settings.slack} blocked={blocked} />
      </div>
    </Block>
  );
}

type One = {
  readonly kind: WebhookKind;
  readonly webhook: OrganizationWebhook | null;
  /** Why nothing can be changed, if so. */
  readonly blocked: string | null;
};

function Webhook({ kind, webhook, blocked }: One) {
  const words = WORDS[kind];
  const now = useNow(60);
  // What is registered is shown until something is typed; Slack's URL never is.
  const known = kind === 'webhook' ? (webhook?.url ?? '') : '';
  const [typed, setTyped] = useState<string | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const test = useOperation(sendTest, { touches: [keys.settings] });
  // Not repeatable: only the first answer has the secret.
  const save = useOperation(send, {
    touches: [keys.settings],
    onDone: ({ webhookSecret, ...settings }) => {
      client.setQueryData(keys.settings, settings);
      setTyped(null);
      setSecret(webhookSecret ?? null);
      test.reset();
      const done = settings[kind] === null ? 'Nothing is sent to' : 'Events are sent to';
      toast({ tone: 'ok', text: `${done} ${words.name} from now on.` });
    },
  });
  const change = (url: string | null) => save.run(kind === 'webhook' ? { webhookUrl: url } : { slackUrl: url });
  const url = (typed ?? known).trim();
  const ready = url !== '' && url !== known;
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    if (ready && !blocked && !save.busy) change(url);
  };
  const error = fieldError(save.error, words.field);
  const state = webhook ? webhookState(webhook, now) : null;
  return (
    <form onSubmit={submit} className={`stack ${css.form}`} noValidate>
      <Field label={words.label} hint={words.hint} error={error}>
        <TextInput
          type="url"
          disabled={blocked !== null}
          title={blocked ?? undefined}
          value={typed ?? known}
          placeholder={webhook && kind === 'slack' ? webhook.url : undefined}
          maxLength={2048}
          autoComplete="off"
          spellCheck={false}
          onChange={(event) => {
            if (!save.busy) save.reset();
            setTyped(event.target.value);
          }}
        />
      </Field>
      <p role="status">
        {state ? (
          <Status tone={state.tone}>{state.text}</Status>
        ) : (
          <Status tone="off">No address is registered.</Status>
        )}
      </p>
      {secret === null ? null : (
        <div role="status">
          <p>This secret signs the events. It is shown only now.</p>
          <p className="row">
            <code className={css.secret}>{secret}</code>
            <Copy text={secret} label="Copy the secret" />
            <Button look="quiet" onClick={() => setSecret(null)}>
              Hide
            </Button>
          </p>
        </div>
      )}
      {test.data ? (
        <p role="status">
          <Status tone={test.data.delivered ? 'ok' : 'bad'}>{testSentence(test.data)}</Status>
        </p>
      ) : null}
      {test.error ? <Refusal error={test.error} title="Not tested" /> : null}
      {save.error && error === null ? <Refusal error={save.error} title="Nothing was changed" /> : null}
      <div className="row">
        <Button type="submit" blocked={blocked} disabled={!ready} busy={save.busy}>
          {webhook ? 'Replace' : 'Register'} {words.name}
        </Button>
        {webhook ? (
          <>
            <Button blocked={blocked} busy={test.busy} onClick={() => test.run(kind)}>
              Test {words.name}
            </Button>
            <Button look="quiet" blocked={blocked} busy={save.busy} onClick={() => change(null)}>
              Remove {words.name}
            </Button>
          </>
        ) : null}
      </div>
    </form>
  );
}
