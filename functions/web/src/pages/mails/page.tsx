import { useCallback, useMemo, useState } from 'react';
import type { Mail } from '../../api/operations';
import { getMails } from '../../api/operators';
import { usePages } from '../../data/pages';
import { useUrlState } from '../../data/url';
import { Copy } from '../../ui/copy';
import { Opener, useOpenRows } from '../../ui/expandable';
import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { Field, Select } from '../../ui/field';
import { Filters } from '../../ui/filters';
import { count } from '../../ui/format';
import { Link } from '../../ui/link';
import { ListPage } from '../../ui/list';
import { Menu } from '../../ui/menu';
import { Note } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import { RetryDialog } from './retry-dialog';
import { isMailState, KNOWN_STATES, mailsSentence, retryDenial, stateWords, templateWord } from './words';

const DEFAULTS = { state: '' };

const organizationPath = (mail: Mail) => `/organizations?q=${mail.organizationId}`;

const columns = (
  open: ReadonlySet<string>,
  toggle: (id: string) => void,
  onRetry: (mail: Mail) => void,
): readonly Column<Mail>[] => [
  {
    id: 'template',
    header: 'What',
    card: 'title',
    width: '22%',
    cell: (row) => (
      <Opener open={open.has(row.id)} onToggle={() => toggle(row.id)}>
        {templateWord(row.template)}
      </Opener>
    ),
  },
  { id: 'recipient', header: 'To', cell: (row) => row.recipient ?? <span className="muted">nobody</span> },
  {
    id: 'organization',
    header: 'Organization',
    width: '8rem',
    cell: (row) => (
      <Link href={organizationPath(row)} title={row.organizationId}>
        {row.organizationId.slice(0, 8)}
      </Link>
    ),
  },
  {
    id: 'state',
    header: 'State',
    card: 'aside',
    width: '24%',
    cell: (row) => {
      const { tone, word } = stateWords(row.state);
      return (
        <Status tone={tone} note={row.reason}>
          {word}
        </Status>
      );
    },
  },
  { id: 'attempts', header: 'Attempts', end: true, width: '6rem', cell: (row) => count(row.attempts) },
  { id: 'created', header: 'When', width: '9rem', cell: (row) => <Moment at={row.createdAt} seconds /> },
  {
    id: 'menu',
    header: '',
    end: true,
    width: '3.25rem',
    card: 'actions',
    cell: (row) => (
      <Menu
        small
        label={`Actions for ${templateWord(row.template)} to ${row.recipient ?? 'nobody'}`}
        items={() => {
          const denial = retryDenial(row);
          return [
            {
              label: 'Send again…',
              ...(denial === null ? { onSelect: () => onRetry(row) } : { disabled: true, hint: denial }),
            },
            null,
            { label: 'Its organization', href: organizationPath(row) },
            { label: 'What operators did', href: `/audit?subject=${row.id}` },
          ];
        }}
      />
    ),
  },
];

/** The mails to owners, and what became of them. */
export default function Mails() {
  const [{ state: asked }, change] = useUrlState(DEFAULTS);
  const state = isMailState(asked) ? asked : undefined;
  const ask = useCallback(
    (cursor: string | undefined, signal: AbortSignal) => getMails(state, cursor, signal),
    [state],
  );
  const list = usePages(['mails', state ?? ''], ask);
  const [retried, setRetried] = useState<Mail | null>(null);
  const { open, toggle, detail } = useOpenRows<Mail>((row) => <Detail row={row} />);
  const shown = useMemo(() => columns(open, toggle, setRetried), [open, toggle]);
  const narrowed = state !== undefined;
  const rows = list.query.data?.rows;
  return (
    <ListPage
      title="Mails"
      sentence={rows ? mailsSentence(rows, narrowed) : 'What owners were told, and whether it arrived.'}
      list={list}
      rows={rows}
      caption="Mails to owners, newest first"
      columns={shown}
      id={(row) => row.id}
      onOpen={(row) => toggle(row.id)}
      detail={detail}
      older="Older mails"
      filters={
        <Filters label="Narrow the mails" onClear={narrowed ? () => change(DEFAULTS) : null}>
          <Field label="State">
            <Select value={state ?? ''} onChange={(event) => change({ state: event.target.value })}>
              <option value="">Any</option>
              {KNOWN_STATES.map((one) => (
                <option key={one} value={one}>
                  {stateWords(one).word}
                </option>
              ))}
            </Select>
          </Field>
        </Filters>
      }
      empty={
        <Note title={narrowed ? 'No mail is in this state' : 'No mail was sent yet'}>
          <p>Owners are mailed about low credit, agents that are shut down, and backups that are deleted.</p>
        </Note>
      }
    >
      {retried ? <RetryDialog mail={retried} onClose={() => setRetried(null)} /> : null}
    </ListPage>
  );
}

function Detail({ row }: { row: Mail }) {
  return (
    <Facts
      facts={factList([
        ['State', stateWords(row.state).meaning],
        row.reason !== null && ['Why the last attempt failed', row.reason],
        ['Attempts', count(row.attempts)],
        ['Addressed', <Moment key="created" at={row.createdAt} seconds />],
        ['Last change', <Moment key="updated" at={row.updatedAt} seconds />],
        row.dueAt !== null && ['Due', <Moment key="due" at={row.dueAt} seconds />],
        ['Event', <code key="template">{row.template}</code>],
        [
          'Mail',
          <span key="id">
            <code>{row.id}</code> <Copy text={row.id} label="Copy the mail's id" />
          </span>,
        ],
      ])}
    />
  );
}
