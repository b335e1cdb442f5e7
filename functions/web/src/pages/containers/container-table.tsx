import { useMemo, useState } from 'react';
import { Link } from '../../ui/link';
import { Menu, type MenuItem } from '../../ui/menu';
import { Status } from '../../ui/status';
import { type Column, DataTable } from '../../ui/table';
import { nameKey } from '../../ui/table-order';
import { Age } from '../../ui/time';
import { ActionDialog } from './action-dialog';
import { BillingDialog } from './billing-dialog';
import { Detail } from './detail';
import { InspectDialog } from './inspect-dialog';
import { LogsDialog } from './logs-dialog';
import { MoveDialog } from './move-dialog';
import css from './page.module.css';
import { type Acting, cannot, cannotSuspend } from './plan';
import { SuspendDialog } from './suspend-dialog';
import { type ContainerView, healthRank, healthWord } from './view';

type Ask = 'logs' | 'inspect' | 'billing' | 'move' | 'suspend' | Acting;

const LABELS: Readonly<Record<Acting, string>> = {
  restart: 'Restart…',
  start: 'Start…',
  stop: 'Stop…',
  'pull-image': 'Pull the image…',
  'remove-ghost': 'Remove…',
};

function items(view: ContainerView, ask: (what: Ask) => void, toggle: () => void): readonly (MenuItem | null)[] {
  const item = (what: Exclude<Ask, 'billing' | 'move' | 'suspend'>, label: string): MenuItem => {
    const refusal = cannot(what, view);
    return {
      label,
      danger: what === 'remove-ghost',
      ...(refusal === null ? { onSelect: () => ask(what) } : { disabled: true, hint: refusal }),
    };
  };
  const acting: readonly Acting[] =
    view.kind === 'unclaimed' ? ['stop', 'remove-ghost'] : ['restart', 'start', 'stop', 'pull-image'];
  return [
    { label: 'Details', onSelect: toggle },
    item('logs', 'Log'),
    item('inspect', 'Ask Docker'),
    null,
    ...acting.map((what) => item(what, LABELS[what])),
    ...(view.kind === 'agent'
      ? [null, suspending(view, ask), moving(view, ask), { label: 'What it costs…', onSelect: () => ask('billing') }]
      : []),
  ];
}

const suspending = (view: ContainerView, ask: (what: Ask) => void): MenuItem => {
  const refusal = cannotSuspend(view);
  return {
    label: 'Suspend agent…',
    danger: true,
    ...(refusal === null ? { onSelect: () => ask('suspend') } : { disabled: true, hint: refusal }),
  };
};

const moving = (view: ContainerView, ask: (what: Ask) => void): MenuItem => ({
  label: 'Move to another host…',
  ...(view.status === 'running'
    ? { onSelect: () => ask('move') }
    : { disabled: true, hint: 'Only an agent that runs is moved' }),
});

function columns(
  onHost: boolean,
  ask: (view: ContainerView, what: Ask) => void,
  toggle: (id: string) => void,
): readonly Column<ContainerView>[] {
  return [
    {
      id: 'name',
      header: 'Container of',
      card: 'title',
      sort: (view) => nameKey(view.name),
      cell: (view) => (
        <span className={css.two}>
          <button type="button" className={css.opener} onClick={() => toggle(view.id)}>
            <span className="clip">{view.name}</span>
          </button>
          {view.kind === 'agent' ? (
            <span className={css.note}>{view.organization ?? `organization ${view.organizationId?.slice(0, 8)}`}</span>
          ) : null}
        </span>
      ),
    },
    {
      id: 'health',
      header: 'Health',
      card: 'aside',
      width: onHost ? '34%' : '28%',
      sort: healthRank,
      cell: (view) => {
        const { tone, word } = healthWord(view);
        return (
          <span className={css.two} title={view.reason}>
            <Status tone={tone}>{word}</Status>
            {view.health === 'healthy' || view.kind === 'other' ? null : (
              <span className={css.note}>{view.reason}</span>
            )}
          </span>
        );
      },
    },
    {
      id: 'status',
      header: 'Row says',
      width: '7rem',
      from: 'm',
      sort: (view) => view.status,
      cell: (view) => (view.status === null ? <span className="muted">no row</span> : view.status),
    },
    {
      id: 'state',
      header: 'Docker says',
      width: '12rem',
      from: 'm',
      sort: (view) => view.state,
      cell: (view) =>
        view.stateText ?? (
          <span className={css.unread}>
            {view.nodeId === null ? 'no host' : view.present === false ? 'not there' : 'not read'}
          </span>
        ),
    },
    ...(onHost
      ? []
      : [
          {
            id: 'host',
            header: 'Host',
            width: '9rem',
            sort: (view: ContainerView) => (view.nodeId === null ? null : nameKey(view.nodeId)),
            cell: (view: ContainerView) =>
              view.nodeId === null ? (
                <span className="muted">none</span>
              ) : (
                <Link href={`/fleet/nodes/${encodeURIComponent(view.nodeId)}`}>{view.nodeId}</Link>
              ),
          },
        ]),
    {
      id: 'heartbeat',
      header: 'Heartbeat',
      end: true,
      width: '6rem',
      from: 'l',
      sort: (view) => (view.heartbeatAt === null ? null : -Date.parse(view.heartbeatAt)),
      cell: (view) => <Age at={view.heartbeatAt} none={view.kind === 'agent' ? 'none yet' : '-'} />,
    },
    {
      id: 'menu',
      header: '',
      end: true,
      width: '3.25rem',
      card: 'actions',
      cell: (view) =>
        view.kind === 'other' ? null : (
          <Menu
            small
            label={`Actions for ${view.name}`}
            items={() =>
              items(
                view,
                (what) => ask(view, what),
                () => toggle(view.id),
              )
            }
          />
        ),
    },
  ];
}

type Props = {
  readonly caption: string;
  readonly views: readonly ContainerView[];
  readonly sort: string;
  readonly onSort: (sort: string) => void;
  /** On the page of one host, which need not be named in each row. */
  readonly onHost?: boolean;
};

export function ContainerTable({ caption, views, sort, onSort, onHost = false }: Props) {
  const [asked, setAsked] = useState<{ view: ContainerView; what: Ask } | null>(null);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const { shown, toggle } = useMemo(() => {
    const flip = (id: string) =>
      setOpen((old) => {
        const next = new Set(old);
        if (!next.delete(id)) next.add(id);
        return next;
      });
    return { shown: columns(onHost, (view, what) => setAsked({ view, what }), flip), toggle: flip };
  }, [onHost]);
  const detail = useMemo(() => (view: ContainerView) => (open.has(view.id) ? <Detail view={view} /> : null), [open]);
  return (
    <>
      <DataTable
        caption={caption}
        rows={views}
        columns={shown}
        id={(view) => view.id}
        sort={sort}
        onSort={onSort}
        onOpen={(view) => toggle(view.id)}
        detail={detail}
      />
      {asked ? <Asked view={asked.view} what={asked.what} onClose={() => setAsked(null)} /> : null}
    </>
  );
}

function Asked({ view, what, onClose }: { view: ContainerView; what: Ask; onClose: () => void }) {
  switch (what) {
    case 'logs':
      return <LogsDialog view={view} onClose={onClose} />;
    case 'inspect':
      return <InspectDialog view={view} onClose={onClose} />;
    case 'billing':
      return <BillingDialog view={view} onClose={onClose} />;
    case 'move':
      return <MoveDialog view={view} onClose={onClose} />;
    case 'suspend':
      return <SuspendDialog view={view} onClose={onClose} />;
    default:
      return <ActionDialog view={view} action={what} onClose={onClose} />;
  }
}
