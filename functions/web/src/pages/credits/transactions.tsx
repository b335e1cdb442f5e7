import { ChevronRight } from 'lucide-react';
import { useCallback, useMemo, useState } from 'react';
import type { SchemaTransaction } from '../../api/openapi.gen';
import { serverNow } from '../../data/clock';
import { usePages } from '../../data/pages';
import { Button } from '../../ui/button';
import { hms, period } from '../../ui/format-more';
import { Money } from '../../ui/money';
import { Load, Note, Skeleton } from '../../ui/states';
import { Badge } from '../../ui/status';
import { type Column, DataTable } from '../../ui/table';
import { Moment } from '../../ui/time';
import { Explained } from './charges';
import { askHistory } from './data';
import type { BillFilters } from './filters';
import css from './page.module.css';
import { paidLate, subject, typeWord } from './words';

type Open = { readonly ids: ReadonlySet<string>; readonly toggle: (id: string) => void };

const columns = ({ ids, toggle }: Open, agent: boolean): readonly Column<SchemaTransaction>[] => [
  {
    id: 'what',
    header: agent ? 'Used' : 'What',
    card: 'title',
    cell: (row) => (
      <button type="button" className={css.opener} aria-expanded={ids.has(row.id)} onClick={() => toggle(row.id)}>
        <ChevronRight size={14} aria-hidden="true" className={css.arrow} />
        <span className="clip">
          {agent ? <Used row={row} /> : typeWord(row.type)} <span className="muted">{subject(row)}</span>
        </span>
      </button>
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
  const { query, growing, grow } = usePages(['history', filters], ask);
  const [ids, setIds] = useState<ReadonlySet<string>>(new Set());
  const toggle = useCallback(
    (id: string) =>
      setIds((old) => {
        const open = new Set(old);
        if (!open.delete(id)) open.add(id);
        return open;
      }),
    [],
  );
  const shown = useMemo(() => columns({ ids, toggle }, filters.agent !== ''), [ids, toggle, filters.agent]);
  const detail = useCallback((row: SchemaTransaction) => (ids.has(row.id) ? <Explained row={row} /> : null), [ids]);
  return (
    <Load query={query} skeleton={<Skeleton lines={8} height="1.5rem" />}>
      {({ rows, more }) =>
        rows.length === 0 ? (
          <Empty filters={filters} />
        ) : (
          <>
            <DataTable
              caption={filters.agent ? 'Charges for one agent, newest first' : 'Changes of the balance, newest first'}
              rows={rows}
              columns={shown}
              id={(row) => row.id}
              onOpen={(row) => toggle(row.id)}
              detail={detail}
            />
            {more ? (
              <p className={css.more}>
                <Button busy={growing} onClick={grow}>
                  Older rows
                </Button>
              </p>
            ) : null}
          </>
        )
      }
    </Load>
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
