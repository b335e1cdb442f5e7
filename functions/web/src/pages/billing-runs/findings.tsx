import { useCallback, useMemo } from 'react';
import { api, unwrap } from '../../api/client';
import type { SchemaFinding, SchemaFindingState } from '../../api/openapi.gen';
import { usePages } from '../../data/pages';
import type { OnePage } from '../../data/read-pages';
import { Opener, useOpenRows } from '../../ui/expandable';
import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { Chips } from '../../ui/field';
import { many } from '../../ui/format';
import { JsonFacts } from '../../ui/json-facts';
import { Link } from '../../ui/link';
import { ListPage } from '../../ui/list';
import { Note } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Age, Moment } from '../../ui/time';
import { isFault, kindSentence } from './kinds';

const STATES: readonly { readonly value: SchemaFindingState; readonly label: string }[] = [
  { value: 'open', label: 'Open' },
  { value: 'resolved', label: 'Resolved' },
  { value: 'all', label: 'All' },
];
const stateOf = (text: string): SchemaFindingState => STATES.find((state) => state.value === text)?.value ?? 'open';

const columns = (open: ReadonlySet<string>, toggle: (id: string) => void): readonly Column<SchemaFinding>[] => [
  {
    id: 'what',
    header: 'What does not add up',
    card: 'title',
    cell: (row) => (
      <Opener open={open.has(row.id)} onToggle={() => toggle(row.id)}>
        <Status tone={row.resolvedAt !== null ? 'off' : isFault(row.kind) ? 'bad' : 'warn'}>
          {kindSentence(row.kind)}
        </Status>
      </Opener>
    ),
  },
  {
    id: 'subject',
    header: 'Row',
    width: '24%',
    from: 'm',
    cell: (row) => <code title={row.subject}>{row.subject}</code>,
  },
  { id: 'found', header: 'Found', width: '8rem', cell: (row) => <Age at={row.foundAt} /> },
  { id: 'seen', header: 'Last seen', width: '8rem', from: 'm', cell: (row) => <Age at={row.lastSeenAt} /> },
  {
    id: 'state',
    header: 'State',
    card: 'aside',
    width: '9rem',
    cell: (row) => (row.resolvedAt === null ? 'open' : <span className="muted">resolved</span>),
  },
];

type Props = {
  readonly state: string;
  readonly onState: (state: string) => void;
  readonly children: React.ReactNode;
};

export function Findings({ state: text, onState, children }: Props) {
  const state = stateOf(text);
  const ask = useCallback(
    (cursor: string | undefined, signal: AbortSignal) =>
      // The client's types lose members whose type is any JSON.
      unwrap(
        api.GET('/api/v1/admin/billing/findings', {
          params: { query: { state, limit: 100, ...(cursor === undefined ? {} : { cursor }) } },
          signal,
        }),
      ) as Promise<unknown> as Promise<OnePage<SchemaFinding>>,
    [state],
  );
  const list = usePages(['findings', state], ask);
  const { open, toggle, detail } = useOpenRows<SchemaFinding>((row) => <Detail row={row} />);
  const shown = useMemo(() => columns(open, toggle), [open, toggle]);
  const rows = list.query.data?.rows;
  return (
    <ListPage
      title="Billing runs"
      tab="Findings - Billing"
      sentence={sentence(rows, state)}
      list={list}
      rows={rows}
      caption="Findings"
      columns={shown}
      id={(row) => row.id}
      onOpen={(row) => toggle(row.id)}
      detail={detail}
      older="More findings"
      lines={5}
      filters={
        <>
          {children}
          <Chips label="State" value={state} onChange={onState} options={STATES} />
        </>
      }
      empty={
        <Note tone="ok" title={state === 'open' ? 'Billing adds up' : 'Nothing was found'}>
          <p>
            Once a day an audit compares balances, entries, charges and metered time. What does not fit appears here
            until it fits again.
          </p>
        </Note>
      }
    />
  );
}

function sentence(rows: readonly SchemaFinding[] | undefined, state: SchemaFindingState): string {
  if (!rows || state !== 'open') return 'What the daily audit of billing found.';
  const faults = rows.filter((row) => isFault(row.kind)).length;
  if (rows.length === 0) return 'The daily audit found nothing that does not add up.';
  return faults > 0
    ? `${many(faults, 'finding does', 'findings do')} not add up. Somebody should look.`
    : `${many(rows.length, 'change')} by other applications, and no fault.`;
}

function Detail({ row }: { row: SchemaFinding }) {
  return (
    <>
      <Facts
        facts={factList([
          ['Row', <code key="subject">{row.subject}</code>],
          row.organizationId !== null && [
            'Organization',
            <Link key="org" href={`/organizations?q=${row.organizationId}`}>
              {row.organizationId}
            </Link>,
          ],
          ['Found', <Moment key="found" at={row.foundAt} />],
          ['Last seen', <Moment key="seen" at={row.lastSeenAt} />],
          row.resolvedAt !== null && ['Resolved', <Moment key="resolved" at={row.resolvedAt} />],
        ])}
      />
      <h3>What the row says and should say</h3>
      <JsonFacts value={row.detail} />
    </>
  );
}
