import { useState } from 'react';
import type { SchemaNode, SchemaNodeUpdateRequest } from '../../api/openapi.gen';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Checkbox, Field, Select } from '../../ui/field';
import { many } from '../../ui/format';
import { Refusal } from '../../ui/refusal';
import { Status } from '../../ui/status';
import { addressOf, changes, type Form, formOf } from './form';
import { HostFields, Seen } from './host-fields';
import { useProbe, useUpdate } from './operations';

type Key = 'keep' | 'pin' | 'forget';

export function EditHost({ node, onClose }: { node: SchemaNode; onClose: () => void }) {
  const [form, setForm] = useState(formOf(node));
  const [key, setKey] = useState<Key>('keep');
  const [confirmed, setConfirmed] = useState(false);
  const probe = useProbe();
  const update = useUpdate(onClose);
  const fields = changes(node, form);
  const fingerprint = probe.data?.fingerprint ?? null;
  const pin =
    key === 'forget'
      ? { hostKeyFingerprint: null }
      : key === 'pin' && confirmed
        ? { hostKeyFingerprint: fingerprint }
        : {};
  const body =
    fields || 'hostKeyFingerprint' in pin ? ({ ...(fields ?? {}), ...pin } as SchemaNodeUpdateRequest) : null;
  const less = Number(form.capacity) < node.allocatedCount;
  const change = (next: Form) => {
    setForm(next);
    setConfirmed(false);
    probe.reset();
    update.reset();
  };
  const save = (event: React.FormEvent) => {
    event.preventDefault();
    if (body) update.run({ nodeId: node.nodeId, body, said: `${node.nodeId} is changed.` });
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Edit ${node.nodeId}`}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            type="submit"
            form="edit-host"
            look="primary"
            busy={update.busy}
            disabled={body === null || (key === 'pin' && !confirmed)}
          >
            Save
          </Button>
        </>
      }
    >
      <form id="edit-host" className="stack" onSubmit={save}>
        <HostFields form={form} set={change} error={update.error} named={false} />
        {less ? (
          <Status tone="warn">
            {many(node.allocatedCount, 'slot is', 'slots are')} taken: it gets no new agents until there are fewer.
          </Status>
        ) : null}
        <Field
          label="Key"
          hint={
            key === 'forget'
              ? 'Whatever key it presents next is trusted and pinned.'
              : node.hostKeyPinned
                ? 'A host that presents another key than the pinned one is refused.'
                : 'None is pinned yet: the next one that it presents will be.'
          }
        >
          <Select value={key} onChange={(event) => setKey(event.target.value as Key)}>
            <option value="keep">{node.hostKeyPinned ? 'Keep the pinned key' : 'Pin the next one'}</option>
            <option value="pin">Look at the host and pin its key</option>
            {node.hostKeyPinned ? <option value="forget">Forget the pinned key</option> : null}
          </Select>
        </Field>
        {key === 'pin' ? (
          probe.data ? (
            <>
              <Seen probe={probe.data} />
              {fingerprint ? (
                <Checkbox
                  checked={confirmed}
                  onChange={(event) => setConfirmed(event.target.checked)}
                  label="This is the key of that machine. Another one will be refused."
                />
              ) : null}
            </>
          ) : (
            <div>
              <Button busy={probe.busy} onClick={() => probe.run(addressOf(form))}>
                {probe.busy ? 'Looking…' : 'Look at the host'}
              </Button>
            </div>
          )
        ) : null}
      </form>
      {probe.error ? <Refusal error={probe.error} title="Not looked at" /> : null}
      {update.error ? <Refusal error={update.error} title="Not changed" /> : null}
    </Dialog>
  );
}
