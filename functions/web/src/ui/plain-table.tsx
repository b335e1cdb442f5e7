import css from './plain-table.module.css';
import type { Column } from './table';

type Props<R> = {
  readonly caption: string;
  readonly rows: readonly R[];
  readonly columns: readonly Column<R>[];
  readonly id: (row: R) => string;
  /** A last line, one cell for each column. */
  readonly foot?: readonly React.ReactNode[] | undefined;
};

/** A table that is only read: no order to choose, no focus, not virtualized. On phones each row is a small list. */
export function PlainTable<R>({ caption, rows, columns, id, foot }: Props<R>) {
  return (
    <table role="table" className={css.table}>
      <caption className="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((column) => (
            <th key={column.id} role="columnheader" scope="col" className={column.end ? css.end : undefined}>
              {column.header}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={id(row)} role="row">
            {columns.map((column) => (
              <td
                key={column.id}
                role="cell"
                data-label={column.header}
                data-title={column.card === 'title' || undefined}
                className={column.end ? css.end : undefined}
              >
                {column.cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
      {foot ? (
        <tfoot role="rowgroup">
          <tr role="row">
            {columns.map((column, index) => (
              <td
                key={column.id}
                role="cell"
                data-label={column.header}
                data-title={column.card === 'title' || undefined}
                className={column.end ? css.end : undefined}
              >
                {foot[index]}
              </td>
            ))}
          </tr>
        </tfoot>
      ) : null}
    </table>
  );
}
