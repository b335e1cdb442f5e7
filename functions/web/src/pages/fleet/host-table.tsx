import { useMemo, useState } from 'react';
import { useLocation } from 'wouter';
import type { Incident } from '../../api/operations';
import { percent } from '../../ui/format-more';
import { Link } from '../../ui/link';
import { Menu, type MenuItem } from '../../ui/menu';
import { Cells, Meter } from '../../ui/meter';
import { Status } from '../../ui/status';
import { type Column, DataTable } from '../../ui/table';
import { nameKey } from '../../ui/table-order';
import { Age, Moment } from '../../ui/time';
import { HostAction, type HostDialog } from './host-actions';
import { DISK, type Host, hostState, IO, isRead, loadMarks, loadOf, MEMORY, unreadSince } from './hosts';
import { useCheck } from './operations';
import css from './page.module.css';

export const hostPath = (nodeId: string): string => `/fleet/nodes/${encodeURIComponent(nodeId)}`;

type MenuProps = {
  readonly host: Host;
  readonly onDialog: (dialog: HostDialog) => void;
  readonly onCheck: () => void;
};

export function hostItems({ host, onDialog, onCheck }: MenuProps): readonly (MenuItem | null)[] {
  const { node } = host;
  return [
    { label: 'Check now', hint: 'Connects to it; 10 seconds at most', onSelect: onCheck },
    { label: 'Edit', onSelect: () => onDialog('edit') },
    ...serviceItems(node, onDialog),
    null,
    { label: 'Remove', danger: true, onSelect: () => onDialog('remove') },
  ];
}

/** What can be done about whether the host is there for agents. */
function serviceItems(node: Host['node'], onDialog: (dialog: HostDialog) => void): readonly MenuItem[] {
  const lost: MenuItem = {
    label: 'Declare lost…',
    hint: 'Unreadable for ten minutes',
    danger: true,
    onSelect: () => onDialog('lost'),
  };
  switch (node.service) {
    case 'draining':
    case 'drained':
      return [{ label: 'Cancel the drain…', onSelect: () => onDialog('cancel-drain') }, lost];
    case 'lost':
      return [];
    case 'returned':
      return [{ label: 'Take back into service…', onSelect: () => onDialog('return') }];
    default:
      return [
        node.enabled
          ? { label: 'Disable', hint: 'No new agents', onSelect: () => onDialog('disable') }
          : { label: 'Enable', onSelect: () => onDialog('enable') },
        { label: 'Drain…', hint: 'Moves its agents to other hosts', onSelect: () => onDialog('drain') },
        lost,
      ];
  }
}

const read = (host: Host, value: number | null | undefined) => (isRead(host) ? (value ?? null) : null);

function State({ host, since }: { host: Host; since: string | null }) {
  const { tone, word, note } = hostState(host);
  return (
    <span className={css.state} title={note ?? undefined}>
      <Status tone={tone}>{word}</Status>
      {isRead(host) || !host.seen ? (
        note ? (
          <span className={css.note}>{note}</span>
        ) : null
      ) : (
        <span className={css.note}>
          {since ? (
            <>
              not read since <Moment at={since} />
            </>
          ) : (
            (note ?? 'not read')
          )}
        </span>
      )}
    </span>
  );
}

const percentMeter = (host: Host, label: string, value: number | null | undefined, marks: typeof DISK) => {
  const known = read(host, value);
  return <Meter label={`${label} of ${host.id}`} value={known} text={percent(known ?? 0)} marks={marks} />;
};

function columns(
  incidents: readonly Incident[],
  open: (host: Host, dialog: HostDialog) => void,
  check: (nodeId: string) => void,
): readonly Column<Host>[] {
  return [
    {
      id: 'host',
      header: 'Host',
      card: 'title',
      sort: (host) => nameKey(host.id),
      cell: (host) => <Link href={hostPath(host.id)}>{host.id}</Link>,
    },
    {
      id: 'state',
      header: 'State',
      card: 'aside',
      width: '17%',
      sort: (host) => hostState(host).rank,
      cell: (host) => <State host={host} since={unreadSince(host, incidents)} />,
    },
    {
      id: 'slots',
      header: 'Slots',
      width: '13%',
      sort: (host) => host.node.allocatedCount / Math.max(1, host.node.capacity),
      cell: (host) => <Cells taken={host.node.allocatedCount} all={host.node.capacity} label={`Slots of ${host.id}`} />,
    },
    {
      id: 'load',
      header: 'Load',
      width: '6rem',
      sort: (host) => (isRead(host) ? loadOf(host.seen).value : null),
      cell: (host) => {
        const load = loadOf(isRead(host) ? host.seen : null);
        const marks = loadMarks(host.seen?.runtime.cpuCount);
        return (
          <Meter
            label={`Load of ${host.id}`}
            value={load.value}
            text={load.text}
            marks={marks}
            max={marks ? marks.critical * 1.25 : 1}
            {...(load.tone ? { tone: load.tone } : {})}
          />
        );
      },
    },
    {
      id: 'memory',
      header: 'Memory',
      width: '5.25rem',
      sort: (host) => read(host, host.seen?.runtime.memoryUsedPercent),
      cell: (host) => percentMeter(host, 'Memory', host.seen?.runtime.memoryUsedPercent, MEMORY),
    },
    {
      id: 'disk',
      header: 'Disk',
      width: '5.25rem',
      sort: (host) => read(host, host.seen?.runtime.diskUsedPercent),
      cell: (host) => percentMeter(host, 'Disk', host.seen?.runtime.diskUsedPercent, DISK),
    },
    {
      id: 'io',
      header: 'IO wait',
      width: '5.25rem',
      sort: (host) => read(host, host.seen?.runtime.ioPressurePct),
      cell: (host) => percentMeter(host, 'IO pressure', host.seen?.runtime.ioPressurePct, IO),
    },
    {
      id: 'drift',
      header: 'Drift',
      width: '5.5rem',
      from: 'l',
      sort: (host) => {
        const drift = host.seen?.allocationDrift ?? null;
        return drift === null ? null : Math.abs(drift);
      },
      cell: (host) => <Drift host={host} />,
    },
    {
      id: 'seen',
      header: 'Asked',
      width: '4.5rem',
      from: 'l',
      card: 'none',
      cell: (host) => <Age at={host.seen?.observedAt ?? null} none="never" />,
    },
    {
      id: 'menu',
      header: '',
      end: true,
      width: '3.25rem',
      card: 'actions',
      cell: (host) => (
        <Menu
          small
          label={`Actions for ${host.id}`}
          items={() => hostItems({ host, onDialog: (dialog) => open(host, dialog), onCheck: () => check(host.id) })}
        />
      ),
    },
  ];
}

/** Containers on the host minus those that the database expects, and those that no row claims. */
function Drift({ host }: { host: Host }) {
  const drift = host.seen?.allocationDrift ?? null;
  if (drift === null) return <span className={css.unread}>not read</span>;
  const unclaimed = host.seen?.ghostContainers.length ?? 0;
  const text = drift > 0 ? `+${drift}` : drift < 0 ? `−${-drift}` : '0';
  return (
    <span className={css.state}>
      {drift === 0 ? text : <Status tone={Math.abs(drift) > 1 ? 'bad' : 'warn'}>{text}</Status>}
      {unclaimed > 0 ? (
        <Link href={`/containers?show=unclaimed&node=${encodeURIComponent(host.id)}`} className={css.note}>
          {unclaimed} unclaimed
        </Link>
      ) : null}
    </span>
  );
}

type Props = {
  readonly hosts: readonly Host[];
  readonly incidents: readonly Incident[];
  readonly sort: string;
  readonly onSort: (sort: string) => void;
};

export function HostTable({ hosts, incidents, sort, onSort }: Props) {
  const [asked, setAsked] = useState<{ host: Host; dialog: HostDialog } | null>(null);
  const [, navigate] = useLocation();
  const { run } = useCheck();
  const shown = useMemo(() => columns(incidents, (host, dialog) => setAsked({ host, dialog }), run), [incidents, run]);
  return (
    <>
      <DataTable
        caption="Hosts"
        rows={hosts}
        columns={shown}
        id={(host) => host.id}
        sort={sort}
        onSort={onSort}
        onOpen={(host) => navigate(hostPath(host.id))}
      />
      {asked ? (
        <HostAction
          key={`${asked.host.id} ${asked.dialog}`}
          node={asked.host.node}
          dialog={asked.dialog}
          onClose={() => setAsked(null)}
        />
      ) : null}
    </>
  );
}
