import { Confirm } from '../../ui/dialog';
import { useMove } from './operations';
import type { ContainerView } from './view';

/** Moves an agent to another host. */
export function MoveDialog({ view, onClose }: { view: ContainerView; onClose: () => void }) {
  const move = useMove(view, onClose);
  return (
    <Confirm
      open
      title={`Move ${view.name} to another host?`}
      action="Move it"
      busy={move.busy}
      error={move.error}
      onClose={onClose}
      onConfirm={() => move.run(null)}
    >
      <p>
        It is stopped with a snapshot and started on another host, with what its state is then. It stands still for
        about a minute and is not charged in between.
      </p>
      <p>
        It does not go back to {view.nodeId}. If its state cannot be saved, it keeps running there. Its volume stays
        behind.
      </p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}
