import { api, unwrap } from '../../api/client';
import type { SchemaNotice } from '../../api/openapi.gen';
import { usePages } from '../../data/pages';
import { More } from '../../ui/more';
import { PlainTable } from '../../ui/plain-table';
import { Block, Load, Skeleton } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import { stateWords, templateWord } from '../mails/words';
import { recipientsText } from './words';

const ask = (cursor: string | undefined, signal: AbortSignal) => {
  const query = { limit: 20, ...(cursor === undefined ? {} : { cursor }) };
  return unwrap(api.GET('/api/v1/notices', { params: { query }, signal }));
};

const COLUMNS: readonly Column<SchemaNotice>[] = [
  { id: 'kind', header: 'What', card: 'title', cell: (row) => templateWord(row.kind) },
  { id: 'at', header: 'When', cell: (row) => <Moment at={row.at} /> },
  {
    id: 'state',
    header: 'Its mail',
    cell: (row) => {
      const { tone, word } = stateWords(row.state);
      return <Status tone={tone}>{word}</Status>;
    },
  },
  {
    id: 'recipients',
    header: 'Sent to',
    cell: (row) => <span className="muted">{recipientsText(row.recipients)}</span>,
  },
];

/** What the organization was told, and whether it arrived. */
export function Notices() {
  const { query, growing, grow } = usePages(['notices'], ask);
  return (
    <Block title="Notices" query={query}>
      <Load query={query} skeleton={<Skeleton lines={3} height="1.5rem" />}>
        {({ rows, more }) =>
          rows.length === 0 ? (
            <p className="muted">
              None so far. You are mailed when credit is low, before agents are stopped, and when they are stopped or
              started again.
            </p>
          ) : (
            <>
              <PlainTable caption="Notices, newest first" rows={rows} columns={COLUMNS} id={(row) => row.id} />
              <More when={more} busy={growing} onClick={grow}>
                Older notices
              </More>
            </>
          )
        }
      </Load>
    </Block>
  );
}
