import { useQuery } from '@tanstack/react-query';
import type { NodeDetail } from '../../api/operations';
import { client } from '../../data/client';
import { Link } from '../../ui/link';
import { PlainTable } from '../../ui/plain-table';
import { Block, Load, Skeleton } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import { drainOptions } from '../fleet/data';
import { type Drained, drainProgress, FATES, toGo } from '../fleet/drain';
import css from './page.module.css';

/** The drain or the loss of a host. Nothing for a host in service. */
export function Withdrawal({ detail }: { detail: NodeDetail }) {
  switch (detail.service) {
    case 'draining':
    case 'drained':
      return <Drain nodeId={detail.nodeId} />;
    case 'lost':
      return (
        <Block title="Lost">
          <p>
            <Status tone="bad">
              Declared lost {detail.withdrawnAt === null ? null : <Moment at={detail.withdrawnAt} />}.
            </Status>{' '}
            <span className="muted">
              Its agents start on other hosts. If it answers, the agents’ containers on it are stopped first.
            </span>
          </p>
        </Block>
      );
    case 'returned':
      return (
        <Block title="Returned">
          <p>
            <Status tone="warn">
              It answers again since {detail.withdrawalDoneAt === null ? null : <Moment at={detail.withdrawalDoneAt} />}
              .
            </Status>{' '}
            <span className="muted">
              The agents’ containers on it are stopped. Remove the host, or take it back into service.
            </span>
          </p>
        </Block>
      );
    default:
      return null;
  }
}

const COLUMNS: readonly Column<Drained>[] = [
  {
    id: 'agent',
    header: 'Agent',
    card: 'title',
    cell: (agent) => (
      <Link href={`/containers?q=${agent.agentId}`}>{agent.agentName ?? agent.agentId.slice(0, 8)}</Link>
    ),
  },
  {
    id: 'fate',
    header: 'What happens to it',
    cell: (agent) => <Status tone={FATES[agent.fate].tone}>{FATES[agent.fate].word}</Status>,
  },
  { id: 'error', header: 'Why not', cell: (agent) => agent.error ?? '' },
];

function Drain({ nodeId }: { nodeId: string }) {
  const query = useQuery(drainOptions(nodeId), client);
  return (
    <Block title="Drain" query={query}>
      <Load query={query} what="The drain" skeleton={<Skeleton lines={3} />}>
        {(drain) => (
          <div className="stack">
            <div role="status" className={css.progress}>
              <p>{drainProgress(drain)}</p>
              {drain.doneAt === null ? (
                <progress aria-label="Agents that are moved" value={drain.moved} max={drain.moved + toGo(drain)} />
              ) : null}
            </div>
            {drain.agents.length === 0 ? null : (
              <PlainTable
                caption={`Agents of ${nodeId} and what the drain does with them`}
                rows={drain.agents}
                columns={COLUMNS}
                id={(agent) => agent.agentId}
              />
            )}
          </div>
        )}
      </Load>
    </Block>
  );
}
