import {
  createSortedRowModel,
  rowSortingFeature,
  type SortingState,
  tableFeatures,
  useTable,
} from '@tanstack/react-table';
import { ArrowDown, ArrowUp } from 'lucide-react';
import { Fragment, memo, useCallback, useMemo, useRef, useState } from 'react';
import css from './table.module.css';
import { compare, type Plain, useHeldOrder } from './table-order';
import { useRows } from './table-rows';

export type Column<R> = {
  readonly id: string;
  readonly header: string;
  readonly cell: (row: R) => React.ReactNode;
  /** Makes the column sortable. Null comes last in both directions. */
  readonly sort?: (row: R) => Plain;
  /** Aligns the cells at their end, for figures and times. */
  readonly end?: boolean;
  readonly width?: string;
  /** Shown only on screens that are at least this wide. */
  readonly from?: 'm' | 'l';
  /** Its place on a card, on phones. */
  readonly card?: 'title' | 'aside' | 'line' | 'actions' | 'none';
};

type Props<R> = {
  /** What the rows are, for screen readers. */
  readonly caption: string;
  readonly rows: readonly R[];
  /** Must keep its identity between renders, otherwise every row renders again. */
  readonly columns: readonly Column<R>[];
  readonly id: (row: R) => string;
  /** A column's id, with a minus for descending; without it rows keep their order. */
  readonly sort?: string;
  readonly onSort?: (sort: string) => void;
  readonly onOpen?: (row: R) => void;
  /** A second line below a row, or null. */
  readonly detail?: (row: R) => React.ReactNode;
};

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });

type RowProps<R> = {
  readonly row: R;
  readonly columns: readonly Column<R>[];
  readonly index: number;
  readonly rowId: string;
  readonly active: boolean;
  readonly measure: ((element: HTMLElement | null) => void) | undefined;
  readonly detail: ((row: R) => React.ReactNode) | undefined;
};

// Explicit roles: on phones rows are laid out as cards, and then browsers drop the elements' implicit roles.
function BodyRow<R>({ row, columns, index, rowId, active, measure, detail }: RowProps<R>) {
  const more = detail?.(row);
  return (
    <tbody role="rowgroup" data-key={rowId} ref={measure} className={css.body}>
      <tr role="row" aria-rowindex={index + 2} data-row={rowId} tabIndex={active ? 0 : -1} className={css.row}>
        {columns.map((column) => (
          <td key={column.id} role="cell" {...cellProps(column)} data-label={column.header}>
            {column.cell(row)}
          </td>
        ))}
      </tr>
      {more ? (
        <tr role="row" className={css.more}>
          <td role="cell" colSpan={columns.length}>
            {more}
          </td>
        </tr>
      ) : null}
    </tbody>
  );
}
const MemoRow = memo(BodyRow) as typeof BodyRow;

const cellProps = (column: Column<never>) => ({
  'data-card': column.card ?? 'line',
  'data-from': column.from,
  className: column.end ? css.end : undefined,
});

function useSorted<R>({ rows, columns, id, sort }: Props<R>) {
  const defs = useMemo(
    () =>
      columns.map((column) => ({
        id: column.id,
        accessorFn: (row: R): Plain => column.sort?.(row) ?? null,
        enableSorting: column.sort !== undefined,
        sortUndefined: false as const,
        sortFn: (a: { getValue(id: string): unknown }, b: { getValue(id: string): unknown }, key: string) =>
          compare(a.getValue(key) as Plain, b.getValue(key) as Plain, sort?.startsWith('-') ?? false),
      })),
    [columns, sort],
  );
  const sorting: SortingState = useMemo(
    () => (sort ? [{ id: sort.replace(/^-/, ''), desc: sort.startsWith('-') }] : []),
    [sort],
  );
  const table = useTable({
    features,
    data: rows as R[],
    columns: defs,
    state: { sorting },
    getRowId: id,
  } as never) as unknown as {
    getRowModel(): { rows: { id: string; original: R }[] };
  };
  return table.getRowModel().rows;
}

export function DataTable<R>(props: Props<R>) {
  const { caption, columns, sort, onSort, onOpen, detail } = props;
  const tableRef = useRef<HTMLTableElement>(null);
  const [active, setActive] = useState<string | null>(null);
  const sorted = useHeldOrder(useSorted(props), tableRef, sort);
  const keys = useMemo(() => sorted.map((row) => row.id), [sorted]);
  const activeIndex = Math.max(0, active === null ? 0 : keys.indexOf(active));
  const { parts, after, reveal, measure } = useRows(keys, activeIndex, tableRef);

  const go = useCallback(
    (index: number) => {
      const target = sorted[Math.max(0, Math.min(sorted.length - 1, index))];
      if (!target) return;
      setActive(target.id);
      reveal(sorted.indexOf(target), () => {
        const row = tableRef.current?.querySelector<HTMLElement>(`[data-row="${CSS.escape(target.id)}"]`);
        row?.focus();
        return row !== null && row !== undefined;
      });
    },
    [sorted, reveal],
  );
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (!(event.target instanceof HTMLElement) || event.target.dataset.row === undefined) return;
    const steps: Record<string, number> = {
      ArrowDown: activeIndex + 1,
      ArrowUp: activeIndex - 1,
      Home: 0,
      End: sorted.length - 1,
    };
    const next = steps[event.key];
    const row = sorted[activeIndex];
    if (next !== undefined) go(next);
    else if (event.key === 'Enter' && onOpen && row) onOpen(row.original);
    else if ((event.key === 'F10' && event.shiftKey) || event.key === 'ContextMenu')
      event.target.querySelector<HTMLElement>('[aria-haspopup="menu"]')?.click();
    else return;
    event.preventDefault();
  };

  return (
    <table
      ref={tableRef}
      role="table"
      className={css.table}
      aria-rowcount={sorted.length + 1}
      onKeyDown={onKeyDown}
      onFocus={(event) => {
        const id = event.target.closest<HTMLElement>('[data-row]')?.dataset.row;
        if (id !== undefined) setActive(id);
      }}
    >
      <caption className="unseen">{caption}</caption>
      <colgroup>
        {columns.map((column) => (
          <col key={column.id} data-from={column.from} style={column.width ? { width: column.width } : undefined} />
        ))}
      </colgroup>
      <thead role="rowgroup" className={css.head}>
        <tr role="row" aria-rowindex={1}>
          {columns.map((column) => (
            <Header key={column.id} column={column} sort={sort} onSort={onSort} />
          ))}
        </tr>
      </thead>
      {parts.map(({ index, before }) => {
        const row = sorted[index];
        return row ? (
          <Fragment key={row.id}>
            {before > 0 ? <Gap height={before} /> : null}
            <MemoRow
              row={row.original}
              rowId={row.id}
              columns={columns}
              index={index}
              active={index === activeIndex}
              measure={measure}
              detail={detail}
            />
          </Fragment>
        ) : null;
      })}
      {after > 0 ? <Gap height={after} /> : null}
    </table>
  );
}

const Gap = ({ height }: { height: number }) => (
  <tbody role="presentation" aria-hidden="true">
    <tr>
      <td style={{ height, padding: 0, border: 0 }} />
    </tr>
  </tbody>
);

type HeaderProps = { column: Column<never>; sort: string | undefined; onSort: ((sort: string) => void) | undefined };

function Header({ column, sort, onSort }: HeaderProps) {
  const direction = sort === column.id ? 'ascending' : sort === `-${column.id}` ? 'descending' : undefined;
  const sortable = column.sort !== undefined && onSort !== undefined;
  return (
    <th role="columnheader" scope="col" aria-sort={direction} {...cellProps(column)}>
      {sortable ? (
        <button
          type="button"
          className={css.sort}
          onClick={() => onSort(direction === 'ascending' ? `-${column.id}` : column.id)}
        >
          {column.header}
          {direction === 'ascending' ? <ArrowUp size={12} aria-hidden="true" /> : null}
          {direction === 'descending' ? <ArrowDown size={12} aria-hidden="true" /> : null}
        </button>
      ) : (
        column.header || <span className="unseen">Actions</span>
      )}
    </th>
  );
}
