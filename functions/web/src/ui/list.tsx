import type { Pages } from '../data/read-pages';
import { More } from './more';
import { Page } from './page';
import { PlainTable } from './plain-table';
import { Refusal } from './refusal';
import { Load, type QueryState, Skeleton } from './states';
import { type Column, DataTable } from './table';

type ListProps<R> = {
  /** What `usePages` returns. */
  readonly list: {
    readonly query: QueryState<Pages<unknown>>;
    readonly growing: boolean;
    readonly failed: Error | null;
    readonly grow: () => void;
  };
  /** What is shown of it: as a rule its rows. */
  readonly rows: readonly R[] | undefined;
  /** What the rows are, for screen readers. */
  readonly caption: string;
  /** Must keep its identity between renders. */
  readonly columns: readonly Column<R>[];
  readonly id: (row: R) => string;
  readonly onOpen?: (row: R) => void;
  readonly detail?: (row: R) => React.ReactNode;
  /** In place of the table if there is no row: why, and what makes one. */
  readonly empty: React.ReactNode;
  /** The button for the next page. */
  readonly older: string;
  /** How many lines the skeleton has. */
  readonly lines?: number;
  /** Rows that are only read. */
  readonly plain?: boolean;
};

/** A list that the server answers in pages: loading, failed, old, empty, or a table with a button for more. */
export function List<R>({ list, rows = [], empty, older, lines = 8, plain = false, ...table }: ListProps<R>) {
  const { query, growing, failed, grow } = list;
  return (
    <Load query={query} skeleton={<Skeleton lines={lines} height="1.75rem" />}>
      {({ more }) =>
        rows.length === 0 ? (
          empty
        ) : (
          <>
            {plain ? (
              <PlainTable caption={table.caption} rows={rows} columns={table.columns} id={table.id} />
            ) : (
              <DataTable {...table} rows={rows} />
            )}
            {failed ? <Refusal error={failed} title="Not loaded" /> : null}
            <More when={more} busy={growing} onClick={grow}>
              {older}
            </More>
          </>
        )
      }
    </Load>
  );
}

type ListPageProps<R> = ListProps<R> & {
  readonly title: string;
  readonly tab?: string;
  readonly sentence: React.ReactNode;
  readonly actions?: React.ReactNode;
  /** Above the list. */
  readonly filters?: React.ReactNode;
  /** The dialogs of the rows' actions. */
  readonly children?: React.ReactNode;
};

/** A page that is one list. */
export function ListPage<R>({ title, tab, sentence, actions, filters, children, ...list }: ListPageProps<R>) {
  return (
    <Page title={title} {...(tab ? { tab } : {})} query={list.list.query} sentence={sentence} actions={actions}>
      {filters}
      <List {...list} />
      {children}
    </Page>
  );
}
