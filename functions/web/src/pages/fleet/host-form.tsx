import { useState } from 'react';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Checkbox } from '../../ui/field';
import { Refusal } from '../../ui/refusal';
import { addressOf, type Form, NEW } from './form';
import { HostFields, Seen } from './host-fields';
import { useProbe, useRegister } from './operations';

/** First a look at the host, which stores nothing; then the operator confirms its key. */
export function AddHost({ open, onClose }: { open: boolean; onClose: () => void }) {
  const [form, setForm] = useState(NEW);
  const [confirmed, setConfirmed] = useState(false);
  const probe = useProbe();
  const close = () => {
    setForm(NEW);
    setConfirmed(false);
    probe.reset();
    register.reset();
    onClose();
  };
  const register = useRegister(close);
  const change = (next: Form) => {
    setForm(next);
    setConfirmed(false);
    probe.reset();
    register.reset();
  };
  const seen = probe.data;
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    if (!seen) probe.run(addressOf(form));
    else if (confirmed)
      register.run({
        ...addressOf(form),
        nodeId: form.nodeId.trim(),
        capacity: Number(form.capacity),
        ...(seen.fingerprint ? { hostKeyFingerprint: seen.fingerprint } : {}),
      });
  };
  return (
    <Dialog
      open={open}
      onClose={close}
      title="Add a host"
      footer={
        <>
          <Button onClick={close}>Cancel</Button>
          {seen ? (
            <Button type="submit" form="add-host" look="primary" disabled={!confirmed} busy={register.busy}>
              Add {form.nodeId}
            </Button>
          ) : (
            <Button type="submit" form="add-host" look="primary" busy={probe.busy}>
              {probe.busy ? 'Looking…' : 'Look at the host'}
            </Button>
          )}
        </>
      }
    >
      <form id="add-host" className="stack" onSubmit={submit}>
        <HostFields form={form} set={change} error={register.error ?? probe.error} named />
        {seen ? (
          <>
            <Seen probe={seen} />
            <Checkbox
              checked={confirmed}
              onChange={(event) => setConfirmed(event.target.checked)}
              label={
                seen.fingerprint
                  ? 'This is the key of that machine. Another one will be refused.'
                  : 'Add it without a key: the first one it presents will be trusted.'
              }
            />
            <p className="muted">Once it is added, agents are placed on it at once.</p>
          </>
        ) : (
          <p className="muted">Looking connects to it and stores nothing. It takes 15 seconds at most.</p>
        )}
      </form>
      {probe.error ? <Refusal error={probe.error} title="Not looked at" /> : null}
      {register.error ? <Refusal error={register.error} title="Not added" /> : null}
    </Dialog>
  );
}
