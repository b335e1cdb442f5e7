import { useState } from 'react';
import { Confirm } from '../../ui/dialog';
import { Field, TextArea } from '../../ui/field';
import { useSuspension } from './operations';
import type { ContainerView } from './view';

/** Suspends an agent, also one that is charged. */
export function SuspendDialog({ view, onClose }: { view: ContainerView; onClose: () => void }) {
  const [text, setText] = useState('');
  const suspension = useSuspension(view, onClose);
  const reason = text.trim();
  const whose = view.organization ? `${view.name} of ${view.organization}` : view.name;
  return (
    <Confirm
      open
      title={`Suspend ${view.name}?`}
      action="Suspend it"
      known={reason !== ''}
      busy={suspension.busy}
      error={suspension.error}
      onClose={onClose}
      onConfirm={() => suspension.run({ reason })}
    >
      <p>
        {whose} is stopped as if its owner suspended it: its state is saved first, if it can be read, and its container
        is removed. It is not charged for running from now on.
      </p>
      <p>
        Its owner gets a mail, reads on the agent that an operator stopped it and why, and may start it again. A top-up
        does not start it.
      </p>
      <Field label="Reason" hint="The owner reads it. It also stays in the audit log.">
        <TextArea
          value={text}
          maxLength={300}
          rows={3}
          onChange={(event) => setText(event.target.value.replace(/[\r\n]+/g, ' '))}
        />
      </Field>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}
