import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import type { SchemaUsage } from '../../api/openapi.gen';
import { client } from '../../data/client';
import { hours, utcDay } from '../../ui/format-more';
import { Money } from '../../ui/money';
import { Load, Note, Skeleton } from '../../ui/states';
import { type Column, DataTable } from '../../ui/table';
import { nameKey } from '../../ui/table-order';
import { type UsageGroup, usageOptions } from './data';
import type { BillFilters } from './filters';
import css from './page.module.css';

type Props = {
  readonly group: UsageGroup;
  readonly filters: BillFilters;
  readonly sort: string;
  readonly onSort: (sort: string) => void;
  readonly onAgent: (id: string) => void;
  readonly onDay: (day: string) => void;
};

const nameOf = (row: SchemaUsage) => row.agentName ?? row.agentId?.slice(0, 8) ?? '-';

const columns = (
  group: UsageGroup,
  most: number,
  onAgent: Props['onAgent'],
  onDay: Props['onDay'],
): Column<SchemaUsage>[] => [
  group === 'agent'
    ? {
        id: 'name',
        header: 'Agent',
        card: 'title',
        sort: (row) => nameKey(nameOf(row)),
        cell: (row) => (
          <button type="button" className={css.link} onClick={() => row.agentId && onAgent(row.agentId)}>
            {nameOf(row)}
          </button>
        ),
      }
    : {
        id: 'day',
        header: 'Day (UTC)',
        card: 'title',
        sort: (row) => row.at,
        cell: (row) => (
          <button type="button" className={css.link} onClick={() => row.at && onDay(row.at.slice(0, 10))}>
            {row.at === null ? '-' : utcDay(row.at)}
          </button>
        ),
      },
  {
    id: 'ran',
    header: 'Ran',
    end: true,
    width: '7rem',
    sort: (row) => row.runningSeconds,
    cell: (row) => hours(row.runningSeconds),
  },
  {
    id: 'idle',
    header: 'Backup kept',
    end: true,
    width: '8rem',
    sort: (row) => row.idleSeconds,
    cell: (row) => hours(row.idleSeconds),
  },
  {
    id: 'share',
    header: '',
    width: '22%',
    from: 'm',
    card: 'none',
    cell: (row) => (
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" className={css.share} aria-hidden="true">
        <rect width={most > 0 ? (row.amount / most) * 100 : 0} height="8" />
      </svg>
    ),
  },
  {
    id: 'amount',
    header: 'Amount',
    end: true,
    card: 'aside',
    width: '8rem',
    sort: (row) => row.amount,
    cell: (row) => <Money amount={row.amount} digits={4} />,
  },
];

/** By the time of use, whenever it was paid. */
export function UsageTable({ group, filters, sort, onSort, onAgent, onDay }: Props) {
  const query = useQuery(usageOptions(group, filters), client);
  const most = useMemo(() => Math.max(0, ...(query.data?.rows.map((row) => row.amount) ?? [])), [query.data]);
  const shown = useMemo(() => columns(group, most, onAgent, onDay), [group, most, onAgent, onDay]);
  return (
    <Load query={query} skeleton={<Skeleton lines={6} height="1.5rem" />}>
      {({ rows, more }) =>
        rows.length === 0 ? (
          <Note title="Nothing was used in this period">
            <p>Only what was used and paid is counted here; what is still owed is not.</p>
          </Note>
        ) : (
          <>
            <DataTable
              caption={group === 'agent' ? 'Use by agent' : 'Use by day'}
              rows={rows}
              columns={shown}
              id={(row) => row.agentId ?? row.at ?? ''}
              sort={sort}
              onSort={onSort}
              {...(group === 'agent' ? { onOpen: (row: SchemaUsage) => row.agentId && onAgent(row.agentId) } : {})}
            />
            {more ? <p className="muted">These are the first 5,000 rows. The CSV file has all of them.</p> : null}
          </>
        )
      }
    </Load>
  );
}
