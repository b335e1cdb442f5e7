import { useCallback, useMemo } from 'react';
import type { SchemaTransaction } from '../../api/openapi.gen';
import { serverNow } from '../../data/clock';
import { usePages } from '../../data/pages';
import { Opener, useOpenRows } from '../../ui/expandable';
import { hms, period } from '../../ui/format-more';
import { List } from '../../ui/list';
import { Money } from '../../ui/money';
import { Note } from '../../ui/states';
import { Badge } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import { Explained } from './charges';
import { askHistory } from './data';
import type { BillFilters } from './filters';
import css from './page.module.css';
import { paidLate, subject, typeWord } from './words';

const columns = (
  open: ReadonlySet<string>,
  toggle: (id: string) => void,
  agent: boolean,
): readonly Column<SchemaTransaction>[] => [
  {
    id: 'what',
    header: agent ? 'Used' : 'What',
    card: 'title',
    cell: (row) => (
      <Opener open={open.has(row.id)} onToggle={() => toggle(row.id)}>
        {agent ? <Used row={row} /> : typeWord(row.type)} <span className="muted">{subject(row)}</span>
      </Opener>
    ),
  },
  agent
    ? {
        id: 'time',
        header: 'Time',
        end: true,
        width: '9rem',
        cell: (row) => (row.seconds === null ? '-' : hms(row.seconds)),
      }
    : { id: 'used', header: 'Used', width: '13rem', from: 'm', cell: (row) => <Used row={row} /> },
  {
    id: 'at',
    header: agent ? 'Paid' : 'Balance changed',
    width: '11rem',
    cell: (row) => (
      <>
        <Moment at={row.createdAt} /> {paidLate(row) ? <Badge tone="warn">late</Badge> : null}
      </>
    ),
  },
  {
    id: 'amount',
    header: 'Amount',
    end: true,
    card: 'aside',
    width: '9rem',
    cell: (row) => (
      <span className={row.amount > 0 ? css.plus : undefined}>
        {row.amount > 0 ? '+' : ''}
        <Money amount={row.amount} digits={6} />
      </span>
    ),
  },
  ...(agent
    ? []
    : [
        {
          id: 'balance',
          header: 'Balance',
          end: true,
          width: '8rem',
          cell: (row: SchemaTransaction) => <Money amount={row.balanceAfter} />,
        },
      ]),
];

function Used({ row }: { row: SchemaTransaction }) {
  if (row.periodStart === null || row.periodEnd === null) return <span className="muted">-</span>;
  return <span>{period(Date.parse(row.periodStart), Date.parse(row.periodEnd), serverNow())}</span>;
}

export function Transactions({ filters }: { filters: BillFilters }) {
  const ask = useCallback(
    (cursor: string | undefined, signal: AbortSignal) => askHistory(filters, cursor, signal),
    [filters],
  );
  const list = usePages(['history', filters], ask);
  const { open, toggle, detail } = useOpenRows<SchemaTransaction>((row) => <Explained row={row} />);
  const shown = useMemo(() => columns(open, toggle, filters.agent !== ''), [open, toggle, filters.agent]);
  return (
    <List
      list={list}
      rows={list.query.data?.rows}
      caption={filters.agent ? 'Charges for one agent, newest first' : 'Changes of the balance, newest first'}
      columns={shown}
      id={(row) => row.id}
      onOpen={(row) => toggle(row.id)}
      detail={detail}
      older="Older rows"
      empty={<Empty filters={filters} />}
    />
  );
}

function Empty({ filters }: { filters: BillFilters }) {
  const narrowed = filters.type || filters.agent || filters.from || filters.to;
  return narrowed ? (
    <Note title="Nothing fits these filters">
      <p>Other days, another type or all agents may have rows.</p>
    </Note>
  ) : (
    <Note title="The balance has never changed">
      <p>Each top-up and each hour of use becomes a row here, with everything it consists of.</p>
    </Note>
  );
}
