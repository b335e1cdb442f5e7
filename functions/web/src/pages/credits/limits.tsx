import { queryOptions, useQuery } from '@tanstack/react-query';
import { api, unwrap } from '../../api/client';
import type { SchemaLimit } from '../../api/openapi.gen';
import { client, every } from '../../data/client';
import { PlainTable } from '../../ui/plain-table';
import { Block, Load, Skeleton } from '../../ui/states';
import type { Column } from '../../ui/table';
import { LIMITS, limitsSentence } from './limit-words';
import { UsageMeter } from './usage-meter';

const options = queryOptions({
  queryKey: ['limits'],
  queryFn: async ({ signal }) => (await unwrap(api.GET('/api/v1/limits', { signal }))).data,
  refetchInterval: every(60_000),
});

const COLUMNS: readonly Column<SchemaLimit>[] = [
  { id: 'limit', header: 'Limit', card: 'title', cell: (row) => LIMITS[row.limit].label },
  { id: 'used', header: 'Used', cell: (row) => <UsageMeter amount={row} /> },
  { id: 'note', header: 'Counted', cell: (row) => <span className="muted">{LIMITS[row.limit].note}</span> },
];

/** What the organization may have, and how much of it it has. */
export function Limits() {
  const query = useQuery(options, client);
  return (
    <Block title="Limits" query={query}>
      <Load query={query} skeleton={<Skeleton lines={9} height="1.5rem" />}>
        {(limits) => (
          <>
            <p>
              {limitsSentence(limits)}{' '}
              <span className="muted">What exceeds one is refused with the reason. An operator can raise them.</span>
            </p>
            <PlainTable caption="Limits" rows={limits} columns={COLUMNS} id={(row) => row.limit} />
          </>
        )}
      </Load>
    </Block>
  );
}
