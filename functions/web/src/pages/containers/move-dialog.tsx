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
        It is stopped, its data is copied, and it is started on another host. It stands still for a minute, or for up to
        ten if it has much data, and is not charged in between.
      </p>
      <p>
        It does not go back to {view.nodeId}. If its data cannot be copied within 10 minutes, it is started there again.
        Its old volume stays behind.
      </p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}
