import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { SchemaCharge, SchemaTransaction } from '../../api/openapi.gen';
import { client } from '../../data/client';
import { serverNow } from '../../data/clock';
import { Button } from '../../ui/button';
import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { hms, period } from '../../ui/format-more';
import { Money } from '../../ui/money';
import { PlainTable } from '../../ui/plain-table';
import { Load } from '../../ui/states';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import { chargesOptions } from './data';
import { arithmetic, kindWord, paidLate, sumSentence, typeMeaning } from './words';

const COLUMNS: readonly Column<SchemaCharge>[] = [
  { id: 'agent', header: 'Agent', card: 'title', cell: (line) => line.agentName ?? line.agentId.slice(0, 8) },
  { id: 'kind', header: 'What', cell: (line) => kindWord(line.kind) },
  {
    id: 'time',
    header: 'Used',
    cell: (line) => period(Date.parse(line.periodStart), Date.parse(line.periodEnd), serverNow()),
  },
  { id: 'length', header: 'Time', end: true, cell: (line) => hms(line.seconds) },
  {
    id: 'arithmetic',
    header: 'Arithmetic',
    cell: (line) => <span className="muted">{arithmetic(line)?.split(' = ')[0]}</span>,
  },
  { id: 'amount', header: 'Amount', end: true, cell: (line) => <Money amount={line.amount} digits={6} /> },
];

/** All that one row of the bill consists of, down to the second. */
export function Explained({ row }: { row: SchemaTransaction }) {
  const exact = arithmetic(row);
  return (
    <>
      <Facts
        facts={factList([
          row.type === 'usage' ? null : ['Meaning', typeMeaning(row.type)],
          row.description && row.type !== 'usage' ? ['Description', row.description] : null,
          row.balanceBefore === null || row.balanceAfter === null
            ? null
            : [
                'Balance',
                <>
                  <Money amount={row.balanceBefore} digits={6} /> → <Money amount={row.balanceAfter} digits={6} />
                </>,
              ],
          ['Balance changed', <Moment key="at" at={row.createdAt} seconds />],
          exact === null ? null : ['Arithmetic', exact],
          row.hourlyRate === null ? null : ['Rate', <Money key="rate" amount={row.hourlyRate} digits={4} per="h" />],
        ])}
      />
      {paidLate(row) ? (
        <p className="muted">This was paid after the credit came back. The time of use is that of the lines.</p>
      ) : null}
      {row.type === 'usage' && row.agentId === null ? <Charges row={row} /> : null}
    </>
  );
}

function Charges({ row }: { row: SchemaTransaction }) {
  const [pages, setPages] = useState(1);
  const query = useQuery(
    { ...chargesOptions(row.id, pages), placeholderData: (before) => (pages > 1 ? before : undefined) },
    client,
  );
  return (
    <Load query={query} what="This charge">
      {({ lines, sum, more }) => (
        <>
          <PlainTable
            caption="Charges of this row"
            rows={lines}
            columns={COLUMNS}
            id={(line) => `${line.agentId} ${line.periodStart}`}
            foot={sum === undefined ? undefined : ['Sum', '', '', '', '', <Money key="sum" amount={sum} digits={6} />]}
          />
          <p className="muted">{sumSentence(row.amount, sum, lines.length)}</p>
          {more ? (
            <Button small busy={query.isFetching} onClick={() => setPages(pages + 1)}>
              More lines
            </Button>
          ) : null}
        </>
      )}
    </Load>
  );
}
