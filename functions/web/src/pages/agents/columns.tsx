import { lazy, Suspense } from 'react';
import type { Agent } from '../../api/operations';
import { act, dismissRefusal } from '../../data/agent-actions';
import type { AgentView } from '../../data/agents';
import { nameOf } from '../../data/announcer';
import { useNow } from '../../data/clock';
import { useWhyNot } from '../../data/session';
import { billingWord, costNow, isCustom, possible, shown, silentSince } from '../../data/shown';
import { Button, ButtonLink } from '../../ui/button';
import { Link } from '../../ui/link';
import { Money } from '../../ui/money';
import { Refusal } from '../../ui/refusal';
import { Badge, Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { nameKey } from '../../ui/table-order';
import { Age, Countdown } from '../../ui/time';
import css from './columns.module.css';
import { AgentMenu } from './menu';

// Without it, the status is still true.
const JobNote = lazy(() => import('./job-note').catch(() => ({ default: () => null })));

const ORDER = { error: 0, disconnected: 1, unknown: 2, provisioning: 3, running: 4, pending: 5, stopped: 6 } as const;

/** Made once: a table whose columns change renders all its rows. */
export function makeColumns(idlePrice: number | null, defaultImage: string | null): readonly Column<AgentView>[] {
  return [
    {
      id: 'name',
      header: 'Name',
      width: '20%',
      card: 'title',
      sort: ({ row }) => nameKey(nameOf(row)),
      cell: ({ row }) => (
        <>
          <Link href={`/agents/${row.id}`} className={css.name} title={nameOf(row)}>
            {nameOf(row)}
          </Link>
          {isCustom(row, defaultImage) ? (
            <span title={row.dockerImage ?? undefined} className={css.kind}>
              <Badge>custom</Badge>
            </span>
          ) : null}
        </>
      ),
    },
    {
      id: 'status',
      header: 'Status',
      width: '25%',
      card: 'aside',
      sort: ({ row }) => ORDER[row.status],
      cell: (agent) => <AgentStatus agent={agent} />,
    },
    {
      id: 'rate',
      header: 'Cost/h',
      width: '6rem',
      end: true,
      sort: ({ row }) => costNow(row, idlePrice),
      cell: ({ row }) => <Cost amount={costNow(row, idlePrice)} />,
    },
    {
      id: 'billed',
      header: 'Billed',
      width: '6rem',
      end: true,
      sort: ({ row }) => row.totalBilled,
      cell: ({ row }) => <Money amount={row.totalBilled} />,
    },
    {
      id: 'billing',
      header: 'Billing',
      width: '8.5rem',
      from: 'l',
      cell: (agent) => <Billing agent={agent} />,
    },
    {
      id: 'heartbeat',
      header: 'Heartbeat',
      width: '6rem',
      end: true,
      card: 'none',
      from: 'm',
      sort: ({ row }) => (row.lastHeartbeatAt === null ? null : Date.parse(row.lastHeartbeatAt)),
      cell: ({ row }) => <Heartbeat agent={row} />,
    },
    {
      id: 'created',
      header: 'Created',
      width: '6rem',
      end: true,
      from: 'm',
      card: 'none',
      sort: ({ row }) => Date.parse(row.createdAt),
      cell: ({ row }) => <Age at={row.createdAt} />,
    },
    {
      id: 'actions',
      header: '',
      width: '8rem',
      end: true,
      card: 'actions',
      cell: (agent) => <Actions agent={agent} />,
    },
  ];
}

/** Zero is quiet: a column of zeros would shout over the figures that matter. */
function Cost({ amount }: { amount: number | null }) {
  return amount === 0 ? <span className="muted">-</span> : <Money amount={amount} digits={4} />;
}

/** Heartbeats that come in time are not listed one by one. */
export function Heartbeat({ agent, suffix = '' }: { agent: Agent; suffix?: ' ago' | '' }) {
  const now = useNow(30);
  if (agent.status !== 'running' || agent.lastHeartbeatAt === null)
    return <Age at={agent.lastHeartbeatAt} suffix={suffix} />;
  const since = silentSince(agent, now);
  return since === null ? <span className="muted">in time</span> : <Age at={since} suffix={suffix} />;
}

export function AgentStatus({ agent }: { agent: AgentView }) {
  const now = useNow(30);
  const state = shown(agent.row, agent.doing, now);
  if (state.tone === 'busy' && agent.jobId)
    return (
      <Status
        tone="busy"
        note={
          <Suspense fallback={null}>
            <JobNote jobId={agent.jobId} agentId={agent.id} />
          </Suspense>
        }
      >
        {state.word}
      </Status>
    );
  return (
    <Status tone={state.tone} note={state.note}>
      {state.word}
    </Status>
  );
}

function Billing({ agent }: { agent: AgentView }) {
  const { row } = agent;
  const { tone, word } = billingWord(row.billingStatus);
  if (row.scheduledShutdownAt)
    return (
      <Status tone="bad">
        Stops in <Countdown to={row.scheduledShutdownAt} />
      </Status>
    );
  return tone === 'off' ? <span className="muted no-card">{word}</span> : <Status tone={tone}>{word}</Status>;
}

function Actions({ agent }: { agent: AgentView }) {
  const kind = mainAction(agent);
  const blocked = useWhyNot(kind ?? 'start');
  return (
    <span className={css.actions}>
      {kind ? (
        <Button
          small
          blocked={blocked}
          onClick={() => act({ kind, agent: agent.row })}
          aria-label={`${VERBS[kind]} ${nameOf(agent.row)}`}
        >
          {VERBS[kind]}
        </Button>
      ) : null}
      <AgentMenu agent={agent} />
    </span>
  );
}

export const VERBS = { start: 'Start', stop: 'Stop' } as const;

/** The one action with a button of its own; all are in the menu. A start that waits is stopped there only. */
export function mainAction({ row, doing }: AgentView): keyof typeof VERBS | null {
  const can = possible(row, doing);
  if (row.status === 'disconnected') return null;
  return can.start ? 'start' : can.stop && row.pendingAction === null ? 'stop' : null;
}

const REFUSED = {
  start: 'Not started',
  stop: 'Not stopped',
  delete: 'Not deleted',
  restore: 'Not restored',
  save: 'State not saved',
} as const;

/** The line below a row: why the last action was refused, or why the agent failed. */
export function AgentDetail(agent: AgentView): React.ReactNode {
  if (agent.refusal) return <AgentRefusal agent={agent} />;
  if (agent.row.status === 'error' && agent.row.errorMessage && !agent.doing && !agent.row.pendingAction)
    return <p className={css.reason}>{agent.row.errorMessage}</p>;
  return null;
}

export function AgentRefusal({ agent }: { agent: AgentView }) {
  const blocked = useWhyNot(agent.refusal?.kind ?? 'start');
  if (!agent.refusal) return null;
  const { error, kind } = agent.refusal;
  const payment = 'payment' in error && error.payment;
  return (
    <Refusal
      error={error}
      title={REFUSED[kind]}
      onDismiss={() => dismissRefusal(agent.id)}
      actions={
        payment ? (
          <ButtonLink small href="/credits">
            Look at the credit
          </ButtonLink>
        ) : kind === 'restore' ? null : (
          <Button small blocked={blocked} onClick={() => act({ kind, agent: agent.row })}>
            Try again
          </Button>
        )
      }
    />
  );
}
