import { useEffect, useRef, useState } from 'react';
import type { SchemaApiKeyRequest, SchemaPermission } from '../../api/openapi.gen';
import type { OrganizationApiKey, OrganizationUser } from '../../api/operations';
import { makeKey, revokeKey } from '../../api/operators';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { Copy } from '../../ui/copy';
import { Checkbox, Field, TextInput } from '../../ui/field';
import { Refusal } from '../../ui/refusal';
import { PERMISSIONS } from '../account/words';
import { fieldError } from '../settings/form';
import css from './page.module.css';
import { CHOSEN, choices, userName } from './users';

type NewProps = { readonly organizationId: string; readonly user: OrganizationUser; readonly onBack: () => void };

/** First what the key may be used for, then the key, which is shown only then. */
export function NewApiKey({ organizationId, user, onBack }: NewProps) {
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState(CHOSEN);
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);
  // Not repeatable: only the first answer has the key.
  const operation = useOperation((asked: SchemaApiKeyRequest) => makeKey(organizationId, asked), {
    touches: [['organization-users', organizationId]],
  });
  if (operation.data) return <MadeApiKey user={user} text={operation.data.apiKey} onDone={onBack} />;
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    if (name.trim() === '' || operation.busy) return;
    operation.run({ userId: user.id, name: name.trim(), permissions: ['read', ...chosen] });
  };
  const choose = (permission: SchemaPermission, on: boolean) =>
    setChosen(on ? [...chosen, permission] : chosen.filter((other) => other !== permission));
  return (
    <form className="stack" onSubmit={submit} noValidate>
      <p>A key of {userName(user)}. It permits reading, and what you choose, as far as the role allows it.</p>
      <Field label="What the key is for" error={fieldError(operation.error, 'name')}>
        <TextInput
          ref={first}
          value={name}
          maxLength={100}
          autoComplete="off"
          onChange={(event) => setName(event.target.value)}
        />
      </Field>
      {choices(user).map((permission) => (
        <Checkbox
          key={permission}
          checked={chosen.includes(permission)}
          onChange={(event) => choose(permission, event.target.checked)}
          label={PERMISSIONS[permission]}
        />
      ))}
      {operation.error ? <Refusal error={operation.error} title="No key was made" /> : null}
      <div className="row">
        <Button onClick={onBack}>Back</Button>
        <Button type="submit" look="primary" disabled={name.trim() === ''} busy={operation.busy}>
          Make the key
        </Button>
      </div>
    </form>
  );
}

type MadeProps = { readonly user: OrganizationUser; readonly text: string; readonly onDone: () => void };

function MadeApiKey({ user, text, onDone }: MadeProps) {
  const done = useRef<HTMLButtonElement>(null);
  useEffect(() => done.current?.focus(), []);
  return (
    <div className="stack">
      <div role="status" className="stack">
        <p>This API key is shown only now. Pass it on to {userName(user)} so that nobody else reads it.</p>
        <p className="row">
          <code className={css.secret}>{text}</code>
          <Copy text={text} label="Copy the API key" />
        </p>
      </div>
      <p className="muted">It signs its user in to this dashboard, and is sent to the API as X-API-Key.</p>
      <div className="row">
        <Button ref={done} look="primary" onClick={onDone}>
          Done
        </Button>
      </div>
    </div>
  );
}

type RevokeProps = NewProps & { readonly apiKey: OrganizationApiKey };

/** Asks before a key ends. */
export function RevokeApiKey({ organizationId, user, apiKey, onBack }: RevokeProps) {
  const back = useRef<HTMLButtonElement>(null);
  useEffect(() => back.current?.focus(), []);
  const operation = useOperation(() => revokeKey(organizationId, apiKey.id), {
    touches: [['organization-users', organizationId]],
    onDone: () => {
      toast({ tone: 'ok', text: 'The API key is revoked.' });
      onBack();
    },
  });
  return (
    <div className="stack">
      <p>
        The key “{apiKey.name}” of {userName(user)}, which begins with <code>{apiKey.prefix}</code>, ends at once, and
        so do the sessions that began with it. This cannot be undone; another key can be made.
      </p>
      {operation.error ? <Refusal error={operation.error} title="Not revoked" /> : null}
      <div className="row">
        <Button ref={back} onClick={onBack}>
          Back
        </Button>
        <Button look="danger" busy={operation.busy} onClick={() => operation.run(undefined)}>
          Revoke the key
        </Button>
      </div>
    </div>
  );
}
