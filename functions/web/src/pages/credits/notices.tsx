import { api, unwrap } from '../../api/client';
import type { SchemaNotice } from '../../api/openapi.gen';
import { usePages } from '../../data/pages';
import { List } from '../../ui/list';
import { Block } from '../../ui/states';
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
  const list = usePages(['notices'], ask);
  return (
    <Block title="Notices" query={list.query}>
      <List
        plain
        list={list}
        rows={list.query.data?.rows}
        caption="Notices, newest first"
        columns={COLUMNS}
        id={(row) => row.id}
        older="Older notices"
        lines={3}
        empty={
          <p className="muted">
            None so far. You are mailed when credit is low, before agents are stopped, and when they are stopped or
            started again.
          </p>
        }
      />
    </Block>
  );
}
