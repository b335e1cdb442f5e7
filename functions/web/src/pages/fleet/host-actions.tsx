import type { SchemaNode } from '../../api/openapi.gen';
import { Confirm } from '../../ui/dialog';
import { many } from '../../ui/format';
import { EditHost } from './host-edit';
import { useRemove, useSync, useUpdate } from './operations';
import { CancellingDrain, Draining, Losing, Returning } from './service-dialogs';

export type HostDialog = 'edit' | 'disable' | 'enable' | 'drain' | 'cancel-drain' | 'lost' | 'return' | 'remove';
type Props = { readonly node: SchemaNode; readonly dialog: HostDialog; readonly onClose: () => void };

/** The dialog of one host's action. */
export function HostAction({ node, dialog, onClose, onRemoved }: Props & { readonly onRemoved?: () => void }) {
  switch (dialog) {
    case 'edit':
      return <EditHost node={node} onClose={onClose} />;
    case 'disable':
    case 'enable':
      return <Enabling node={node} dialog={dialog} onClose={onClose} />;
    case 'drain':
      return <Draining node={node} onClose={onClose} />;
    case 'cancel-drain':
      return <CancellingDrain node={node} onClose={onClose} />;
    case 'lost':
      return <Losing node={node} onClose={onClose} />;
    case 'return':
      return <Returning node={node} onClose={onClose} />;
    case 'remove':
      return (
        <Removing
          node={node}
          onClose={onClose}
          onRemoved={() => {
            onClose();
            onRemoved?.();
          }}
        />
      );
    default:
      return dialog satisfies never;
  }
}

function Enabling({ node, dialog, onClose }: Props) {
  const update = useUpdate(onClose);
  const enabled = dialog === 'enable';
  const name = node.nodeId;
  return (
    <Confirm
      open
      danger={!enabled}
      title={enabled ? `Let agents onto ${name}?` : `Disable ${name}?`}
      action={enabled ? 'Enable' : 'Disable'}
      busy={update.busy}
      error={update.error}
      onClose={onClose}
      onConfirm={() =>
        update.run({
          nodeId: name,
          body: { enabled },
          said: enabled ? `${name} takes agents.` : `${name} gets no new agents.`,
        })
      }
    >
      <p>
        {enabled
          ? `New agents may be placed on it: ${many(node.availableSlots, 'slot is', 'slots are')} free.`
          : `No new agent is placed on it. The ${many(node.allocatedCount, 'agent')} there ${node.allocatedCount === 1 ? 'goes' : 'go'} on, and can be stopped and started elsewhere.`}
      </p>
      <p className="muted">It is inspected as before. Written to the audit log as you.</p>
    </Confirm>
  );
}

function Removing({ node, onClose, onRemoved }: Omit<Props, 'dialog'> & { readonly onRemoved: () => void }) {
  const remove = useRemove(onRemoved);
  return (
    <Confirm
      open
      title={`Remove ${node.nodeId}?`}
      action="Remove the host"
      typed={node.nodeId}
      busy={remove.busy}
      error={remove.error}
      onClose={onClose}
      onConfirm={() => remove.run(node.nodeId)}
    >
      <p>
        It leaves the fleet: it is not inspected any more, and no agent is placed on it. The machine itself is not
        touched, and its pinned key is forgotten.
      </p>
      <p>
        This is refused while {node.allocatedCount > 0 ? `its ${many(node.allocatedCount, 'agent')} or ` : ''}agents
        have containers there, or state that no backup has: drain it first. Stopped agents with a backup start on
        another host.
      </p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}

/** Recounts the slots of all hosts. */
export function Sync({ open, onClose }: { open: boolean; onClose: () => void }) {
  const sync = useSync(onClose);
  return (
    <Confirm
      open={open}
      danger={false}
      title="Recount the slots of all hosts?"
      action="Recount"
      busy={sync.busy}
      error={sync.error}
      onClose={() => {
        sync.reset();
        onClose();
      }}
      onConfirm={() => sync.run(null)}
    >
      <p>
        Each host’s number of taken slots is set to the number of agents that have a container there, by the database.
        No host is asked and no container is touched.
      </p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}
