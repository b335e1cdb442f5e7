import { useCallback, useMemo } from 'react';
import type { AuditEntry } from '../../api/operations';
import { getAudit } from '../../api/operators';
import { useNow } from '../../data/clock';
import { usePages } from '../../data/pages';
import { useUrlState } from '../../data/url';
import { Copy } from '../../ui/copy';
import { DateRange } from '../../ui/date-range';
import { Opener, useOpenRows } from '../../ui/expandable';
import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { Field, Select, TextInput } from '../../ui/field';
import { Filters } from '../../ui/filters';
import { nextDay } from '../../ui/format-more';
import { JsonFacts } from '../../ui/json-facts';
import { Link } from '../../ui/link';
import { ListPage } from '../../ui/list';
import { Note } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import {
  actionWord,
  actorName,
  auditSentence,
  entryState,
  isByControlPlane,
  KNOWN_ACTIONS,
  subjectPath,
} from './entries';
import css from './page.module.css';

const DEFAULTS = { action: '', subject: '', actor: '', from: '', to: '' };

const columns = (
  open: ReadonlySet<string>,
  toggle: (id: string) => void,
  now: number,
  onActor: (id: string) => void,
): readonly Column<AuditEntry>[] => [
  {
    id: 'action',
    header: 'What',
    card: 'title',
    width: '26%',
    cell: (row) => (
      <Opener open={open.has(row.id)} onToggle={() => toggle(row.id)}>
        {actionWord(row.action)}
      </Opener>
    ),
  },
  {
    id: 'subject',
    header: 'On',
    cell: (row) => {
      const path = subjectPath(row);
      return path === null ? (
        <span title={row.subject}>{row.subject}</span>
      ) : (
        <Link href={path} title={row.subject}>
          {row.subject}
        </Link>
      );
    },
  },
  {
    id: 'result',
    header: 'Result',
    card: 'aside',
    width: '12rem',
    cell: (row) => {
      const { tone, word } = entryState(row, now);
      return <Status tone={tone}>{word}</Status>;
    },
  },
  {
    id: 'actor',
    header: 'Who',
    width: '11rem',
    cell: (row) => (
      <button type="button" className={css.link} onClick={() => onActor(row.actorId)} title="Only what they did">
        <span className="clip">{actorName(row)}</span>
      </button>
    ),
  },
  { id: 'at', header: 'When', width: '9rem', cell: (row) => <Moment at={row.at} seconds /> },
];

/** What operators did. */
export default function Audit() {
  const [state, change] = useUrlState(DEFAULTS);
  const now = useNow(60);
  const { action, subject, actor, from, to } = state;
  const filters = useMemo(
    () => ({
      action: action || undefined,
      subject: subject.trim() || undefined,
      actor: actor || undefined,
      from: nextDay(from) ? from : undefined,
      to: nextDay(to) ?? undefined,
    }),
    [action, subject, actor, from, to],
  );
  const ask = useCallback(
    (cursor: string | undefined, signal: AbortSignal) => getAudit(filters, cursor, signal),
    [filters],
  );
  const list = usePages(['audit', filters], ask);
  const { open, toggle, detail } = useOpenRows<AuditEntry>((row) => <Detail row={row} />);
  const shown = useMemo(() => columns(open, toggle, now, (id) => change({ actor: id })), [open, toggle, now, change]);
  const narrowed = Object.values(state).some((value) => value !== '');
  const rows = list.query.data?.rows;
  return (
    <ListPage
      title="Audit log"
      sentence={rows ? auditSentence(rows, now, narrowed) : 'What operators did, and how it ended.'}
      list={list}
      rows={rows}
      caption="Audit log, newest first"
      columns={shown}
      id={(row) => row.id}
      onOpen={(row) => toggle(row.id)}
      detail={detail}
      older="Older entries"
      filters={
        <Filters
          label="Narrow the audit log"
          onClear={narrowed ? () => change(DEFAULTS) : null}
          clear={actor ? 'Clear (one operator only)' : 'Clear'}
        >
          <Field label="What">
            <Select value={action} onChange={(event) => change({ action: event.target.value })}>
              <option value="">Anything</option>
              {[...new Set([...KNOWN_ACTIONS, ...(action ? [action] : [])])].map((one) => (
                <option key={one} value={one}>
                  {actionWord(one)}
                </option>
              ))}
            </Select>
          </Field>
          <Field label="On exactly this id or name">
            <TextInput type="search" value={subject} onChange={(event) => change({ subject: event.target.value })} />
          </Field>
          <DateRange from={from} to={to} onChange={change} />
        </Filters>
      }
      empty={
        <Note title={narrowed ? 'No entry fits these filters' : 'No operator has done anything yet'}>
          <p>Each action on hosts, containers, credit and prices is written here before it begins.</p>
        </Note>
      }
    />
  );
}

function Detail({ row }: { row: AuditEntry }) {
  return (
    <>
      <Facts
        facts={factList([
          ['Action', <code key="action">{row.action}</code>],
          ['On', row.subject],
          [
            'By',
            isByControlPlane(row) ? (
              actorName(row)
            ) : (
              <span key="by" className={css.by}>
                {row.actorName ?? ''} <code>{row.actorId}</code> <Copy text={row.actorId} label="Copy the user's id" />
              </span>
            ),
          ],
          ['Result', row.result],
          ['Entry', row.id],
        ])}
      />
      <JsonFacts value={row.details} />
    </>
  );
}
