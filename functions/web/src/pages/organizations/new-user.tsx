import { useEffect, useRef, useState } from 'react';
import type { SchemaOrganizationUserRequest, SchemaRole } from '../../api/openapi.gen';
import { addUser } from '../../api/operators';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { Field, Select, TextInput } from '../../ui/field';
import { Refusal } from '../../ui/refusal';
import { ROLES } from '../account/words';
import { fieldError } from '../settings/form';

type Props = { readonly organizationId: string; readonly onBack: () => void };

/** A further user of an organization. */
export function NewUser({ organizationId, onBack }: Props) {
  const [email, setEmail] = useState('');
  const [name, setName] = useState('');
  const [role, setRole] = useState<SchemaRole>('member');
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);
  const operation = useOperation((asked: SchemaOrganizationUserRequest, key) => addUser(organizationId, asked, key), {
    keyed: true,
    repeatable: true,
    touches: [['organization-users', organizationId]],
    onDone: () => {
      toast({ tone: 'ok', text: 'The user is added.' });
      onBack();
    },
  });
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    if (email.trim() === '' || operation.busy) return;
    operation.run({ email: email.trim(), role, ...(name.trim() ? { name: name.trim() } : {}) });
  };
  return (
    <form className="stack" onSubmit={submit} noValidate>
      <Field label="Mail address" error={fieldError(operation.error, 'email')}>
        <TextInput
          ref={first}
          type="email"
          value={email}
          maxLength={254}
          autoComplete="off"
          onChange={(event) => setEmail(event.target.value)}
        />
      </Field>
      <Field label="Name" hint="May be left out." error={fieldError(operation.error, 'name')}>
        <TextInput value={name} maxLength={100} autoComplete="off" onChange={(event) => setName(event.target.value)} />
      </Field>
      <Field label="Role" hint={ROLES[role].may}>
        <Select value={role} onChange={(event) => setRole(event.target.value as SchemaRole)}>
          <option value="owner">Owner</option>
          <option value="member">Member</option>
          <option value="viewer">Viewer</option>
        </Select>
      </Field>
      {operation.error ? <Refusal error={operation.error} title="Not added" /> : null}
      <div className="row">
        <Button onClick={onBack}>Back</Button>
        <Button type="submit" look="primary" disabled={email.trim() === ''} busy={operation.busy}>
          Add the user
        </Button>
      </div>
    </form>
  );
}
