import { Confirm } from '../../ui/dialog';
import { useAction } from './operations';
import { type Acting, plan } from './plan';
import type { ContainerView } from './view';

type Props = { readonly view: ContainerView; readonly action: Acting; readonly onClose: () => void };

/** Says what an action will do before it is sent. */
export function ActionDialog({ view, action, onClose }: Props) {
  const act = useAction(view, onClose);
  const { title, button, effects, danger, typed } = plan(action, view);
  return (
    <Confirm
      open
      title={title}
      action={act.busy ? 'Working…' : button}
      danger={danger}
      busy={act.busy}
      error={act.error}
      onClose={onClose}
      onConfirm={() => act.run(action)}
      {...(typed === undefined ? {} : { typed })}
    >
      {effects.map((effect) => (
        <p key={effect}>{effect}</p>
      ))}
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}
