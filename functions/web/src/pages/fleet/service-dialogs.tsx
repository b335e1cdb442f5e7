import { useQuery } from '@tanstack/react-query';
import type { SchemaNode } from '../../api/openapi.gen';
import { client } from '../../data/client';
import { Confirm } from '../../ui/dialog';
import { many } from '../../ui/format';
import { Load, Skeleton } from '../../ui/states';
import { drainOptions } from './data';
import { drainEffects } from './drain';
import { useCancelDrain, useDeclareLost, useDrain, useReturn } from './operations';

type Props = { readonly node: SchemaNode; readonly onClose: () => void };

/** Moves all agents away from a host. */
export function Draining({ node, onClose }: Props) {
  const plan = useQuery(drainOptions(node.nodeId), client);
  const drain = useDrain(onClose);
  return (
    <Confirm
      open
      title={`Drain ${node.nodeId}?`}
      action="Drain"
      known={plan.data !== undefined}
      busy={drain.busy}
      error={drain.error}
      onClose={onClose}
      onConfirm={() => drain.run(node.nodeId)}
    >
      <Load query={plan} what="The plan" skeleton={<Skeleton lines={3} />}>
        {({ agents }) => (
          <div className="stack">
            {drainEffects(agents).map((effect) => (
              <p key={effect}>{effect}</p>
            ))}
          </div>
        )}
      </Load>
      <p>It gets no new agents. Two agents are moved at the same time, and the drain can be cancelled at any moment.</p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}

export function CancellingDrain({ node, onClose }: Props) {
  const cancel = useCancelDrain(onClose);
  return (
    <Confirm
      open
      danger={false}
      title={`Cancel the drain of ${node.nodeId}?`}
      action="Cancel the drain"
      busy={cancel.busy}
      error={cancel.error}
      onClose={onClose}
      onConfirm={() => cancel.run(node.nodeId)}
    >
      <p>
        The host takes agents again if it did before. Agents that were moved stay where they are. Those that are stopped
        for their move are started on other hosts; the others keep running here.
      </p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}

/** Gives up a host that cannot be read. */
export function Losing({ node, onClose }: Props) {
  const declare = useDeclareLost(onClose);
  return (
    <Confirm
      open
      title={`Declare ${node.nodeId} lost?`}
      action="Declare it lost"
      typed={node.nodeId}
      busy={declare.busy}
      error={declare.error}
      onClose={onClose}
      onConfirm={() => declare.run(node.nodeId)}
    >
      <p>Only for a machine that does not come back. This is refused unless it has been unreadable for ten minutes.</p>
      <p>
        Its {many(node.allocatedCount, 'agent is', 'agents are')} stopped and freed. Metering ends when they were known
        to run last, and their owners are told. What no backup has is lost with the host.
      </p>
      <p>
        A start restores the newest backup on another host, with a new database password, API token and JWT secret. If
        the host answers again, the agents’ containers on it are stopped before anything else.
      </p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}

/** Trusts a lost host that answers again. */
export function Returning({ node, onClose }: Props) {
  const back = useReturn(onClose);
  return (
    <Confirm
      open
      danger={false}
      title={`Take ${node.nodeId} back into service?`}
      action="Take it back"
      busy={back.busy}
      error={back.error}
      onClose={onClose}
      onConfirm={() => back.run(node.nodeId)}
    >
      <p>
        It takes agents again if it did before. Agents that were not started elsewhere since have their newest state in
        its volumes, and start there. The stopped containers of the others stay until they are removed.
      </p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}
