import type { Agent } from '../../api/operations';
import { act } from '../../data/agent-actions';
import { nameOf } from '../../data/announcer';
import { Confirm } from '../../ui/dialog';
import { Money } from '../../ui/money';

export function DeleteAgent({ agent, onClose, onDone }: { agent: Agent; onClose: () => void; onDone?: () => void }) {
  const name = nameOf(agent);
  return (
    <Confirm
      open
      onClose={onClose}
      title={`Delete ${name}?`}
      typed={name}
      action={`Delete ${name.length > 24 ? 'it' : name}`}
      onConfirm={() => {
        onClose();
        act({ kind: 'delete', agent });
        onDone?.();
      }}
    >
      <p>Its container, its data, its database and all its backups are removed. This cannot be undone.</p>
      <p className="muted">
        What it cost so far (<Money amount={agent.totalBilled} />) stays in your bill.
      </p>
    </Confirm>
  );
}
