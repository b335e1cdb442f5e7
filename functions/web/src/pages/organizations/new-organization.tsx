import { useState } from 'react';
import type { Organization } from '../../api/operations';
import { addOrganization } from '../../api/operators';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Field, TextInput } from '../../ui/field';
import { Refusal } from '../../ui/refusal';
import { fieldError } from '../settings/form';

const EMPTY = { name: '', slug: '', ownerEmail: '', ownerName: '' };

type Props = {
  readonly onClose: () => void;
  readonly onAdded: (organization: Pick<Organization, 'id' | 'name'>) => void;
};

/** An organization without credit, and its first owner. */
export function NewOrganization({ onClose, onAdded }: Props) {
  const [form, setForm] = useState(EMPTY);
  const operation = useOperation(addOrganization, {
    keyed: true,
    repeatable: true,
    touches: [['organizations']],
    onDone: ({ id }, { name }) => {
      toast({ tone: 'ok', text: `${name} is added.` });
      onAdded({ id, name });
    },
  });
  const asked = { name: form.name.trim(), ownerEmail: form.ownerEmail.trim() };
  const slug = form.slug.trim();
  const ownerName = form.ownerName.trim();
  const ready = asked.name !== '' && asked.ownerEmail !== '';
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    if (ready && !operation.busy)
      operation.run({ ...asked, ...(slug ? { slug } : {}), ...(ownerName ? { ownerName } : {}) });
  };
  const input = (field: keyof typeof EMPTY) => ({
    value: form[field],
    autoComplete: 'off',
    maxLength: field === 'ownerEmail' ? 254 : 100,
    onChange: (event: React.ChangeEvent<HTMLInputElement>) => setForm({ ...form, [field]: event.target.value }),
  });
  const error = (field: keyof typeof EMPTY) => fieldError(operation.error, field);
  return (
    <Dialog
      open
      onClose={onClose}
      title="New organization"
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" form="new-organization" look="primary" disabled={!ready} busy={operation.busy}>
            Add it
          </Button>
        </>
      }
    >
      <form id="new-organization" className="stack" onSubmit={submit} noValidate>
        <Field label="Name" error={error('name')}>
          <TextInput {...input('name')} />
        </Field>
        <Field
          label="Slug"
          hint="Lower-case letters, digits and dashes, as no other organization has it. Empty: made of the name."
          error={error('slug')}
        >
          <TextInput {...input('slug')} spellCheck={false} autoCapitalize="off" />
        </Field>
        <Field label="Owner’s mail address" hint="Mails about credit go there." error={error('ownerEmail')}>
          <TextInput {...input('ownerEmail')} type="email" />
        </Field>
        <Field label="Owner’s name" hint="May be left out." error={error('ownerName')}>
          <TextInput {...input('ownerName')} />
        </Field>
      </form>
      <p className="muted">It has no credit at first. The owner signs in with an API key, which you make next.</p>
      {operation.error ? <Refusal error={operation.error} title="Not added" /> : null}
    </Dialog>
  );
}
