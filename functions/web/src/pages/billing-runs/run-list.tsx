import { useMemo } from 'react';
import { getRuns } from '../../api/operators';
import { useNow } from '../../data/clock';
import { usePages } from '../../data/pages';
import { Opener, useOpenRows } from '../../ui/expandable';
import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { many } from '../../ui/format';
import { Link } from '../../ui/link';
import { ListPage } from '../../ui/list';
import { Money } from '../../ui/money';
import { Note } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Elapsed, Moment } from '../../ui/time';
import css from './page.module.css';
import { gapSentence, type Row, resultOf, runsSentence, withGaps } from './runs';

const columns = (open: ReadonlySet<string>, toggle: (id: string) => void, now: number): readonly Column<Row>[] => [
  {
    id: 'hour',
    header: 'Charged up to',
    card: 'title',
    width: '34%',
    cell: (row) =>
      row.kind === 'gap' ? (
        <Status tone="bad">{gapSentence(row, now)}</Status>
      ) : (
        <Opener open={open.has(row.id)} onToggle={() => toggle(row.id)}>
          <Moment at={row.run.hour} />
        </Opener>
      ),
  },
  {
    id: 'state',
    header: 'Run',
    card: 'aside',
    width: '10rem',
    cell: (row) => (row.kind === 'gap' ? null : <Status tone={row.state.tone}>{row.state.word}</Status>),
  },
  {
    id: 'result',
    header: 'Result',
    cell: (row) => (row.kind === 'gap' ? null : <span title={resultOf(row.run)}>{resultOf(row.run)}</span>),
  },
  {
    id: 'agents',
    header: 'Agents',
    end: true,
    width: '6rem',
    from: 'm',
    cell: (row) => (row.kind === 'gap' ? null : row.run.agentsBilled),
  },
  {
    id: 'started',
    header: 'Started',
    width: '8rem',
    from: 'm',
    cell: (row) => (row.kind === 'gap' ? null : <Moment at={row.run.startedAt} seconds />),
  },
  {
    id: 'took',
    header: 'Took',
    end: true,
    width: '5rem',
    from: 'l',
    cell: (row) =>
      row.kind === 'gap' ? null : row.run.finishedAt !== null ? (
        `${((Date.parse(row.run.finishedAt) - Date.parse(row.run.startedAt)) / 1000).toFixed(1)} s`
      ) : row.state.tone === 'busy' ? (
        <Elapsed since={row.run.startedAt} />
      ) : (
        <span className="muted">-</span>
      ),
  },
];

export function Runs({ children }: { children: React.ReactNode }) {
  const list = usePages(['billing-runs'], getRuns);
  const now = useNow(60);
  const { data } = list.query;
  const rows = useMemo(() => withGaps(data?.rows ?? [], now), [data, now]);
  const { open, toggle, detail } = useOpenRows<Row>((row) => <Detail row={row} />);
  const shown = useMemo(() => columns(open, toggle, now), [open, toggle, now]);
  return (
    <ListPage
      title="Billing runs"
      sentence={data ? runsSentence(rows, now) : null}
      list={list}
      rows={rows}
      caption="Billing runs, newest first"
      columns={shown}
      id={(row) => row.id}
      onOpen={(row) => row.kind === 'run' && toggle(row.id)}
      detail={detail}
      older="Older runs"
      filters={children}
      empty={
        <Note title="Billing has not run yet">
          <p>It runs at each full hour and charges what was used until then.</p>
        </Note>
      }
    />
  );
}

function Detail({ row }: { row: Row }) {
  if (row.kind === 'gap') return null;
  const { run } = row;
  return (
    <>
      <Facts
        facts={factList([
          ['Caused by', run.source],
          ['Organizations visited', run.organizations],
          ['Agents', `${run.agentsBilled} of ${run.agentsProcessed} were charged, in ${many(run.charges, 'line')}`],
          ['Charged', <Money key="charged" amount={run.charged} digits={6} />],
          ['Not covered by credit', <Money key="owed" amount={run.owed} digits={6} />],
          run.writtenOff > 0 && ['Written off', <Money key="off" amount={run.writtenOff} digits={6} />],
          run.uncollected > 0 && ['Owed by deleted ones', <Money key="lost" amount={run.uncollected} digits={6} />],
          ['Warned, suspended', `${run.warned}, ${run.suspended}`],
          run.repairedSpans > 0 && ['Metered time repaired', many(run.repairedSpans, 'part')],
          run.oldestUndecided !== null && ['Somebody waits since', <Moment key="oldest" at={run.oldestUndecided} />],
        ])}
      />
      {run.complete ? null : (
        <p className="muted">
          The next run charges what this one left. {row.state.bad ? 'None has done so yet.' : 'A later one did.'}
        </p>
      )}
      {run.failures.length > 0 ? (
        <ul className={css.failures}>
          {run.failures.map((failure) => (
            <li key={failure.organizationId}>
              <Status tone="bad" note={failure.reason}>
                <Link href={`/organizations?q=${failure.organizationId}`}>
                  {failure.organizationName ?? `deleted organization ${failure.organizationId.slice(0, 8)}`}
                </Link>
              </Status>
            </li>
          ))}
          {run.errors > run.failures.length ? (
            <li className="muted">and {run.errors - run.failures.length} more</li>
          ) : null}
        </ul>
      ) : null}
    </>
  );
}
