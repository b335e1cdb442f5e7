import type { Credit } from '../../api/operations';
import { serverNow } from '../../data/clock';
import { clockTime, longTime, many, money } from '../../ui/format';
import { utcDay } from '../../ui/format-more';
import { Link } from '../../ui/link';
import { PlainTable } from '../../ui/plain-table';
import { Block } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Countdown } from '../../ui/time';

type Shutdown = Credit['scheduledShutdowns'][number];
type Unpaid = NonNullable<Credit['unpaidBackups']>[number];

const name = (row: { agentName: string | null; agentId: string }) => (
  <Link href={`/agents/${row.agentId}`}>{row.agentName ?? row.agentId.slice(0, 8)}</Link>
);

/** Local time, with UTC beside it: the deadline must not be misread. */
function Both({ at }: { at: string }) {
  const then = Date.parse(at);
  const utc = new Date(then).toISOString();
  return (
    <time dateTime={at} title={longTime(then)}>
      {clockTime(then, serverNow())}{' '}
      <span className="muted">
        ({utc.slice(0, 10)} {utc.slice(11, 16)} UTC)
      </span>
    </time>
  );
}

const SHUTDOWNS: readonly Column<Shutdown>[] = [
  { id: 'agent', header: 'Agent', card: 'title', cell: name },
  { id: 'left', header: 'Left', cell: (row) => <Countdown to={row.scheduledShutdownAt} /> },
  { id: 'at', header: 'Is stopped', cell: (row) => <Both at={row.scheduledShutdownAt} /> },
];

const UNPAID: readonly Column<Unpaid>[] = [
  { id: 'agent', header: 'Agent', card: 'title', cell: name },
  { id: 'since', header: 'Unpaid since', cell: (row) => utcDay(row.unpaidSince) },
  { id: 'notice', header: 'You are told', cell: (row) => utcDay(row.noticeAt) },
  { id: 'deletion', header: 'May be deleted from', cell: (row) => <Both at={row.deletionAt} /> },
];

/** What comes if nothing is paid. */
export function Shutdowns({ credit, graceHours }: { credit: Credit; graceHours: number }) {
  const { scheduledShutdowns: stops, unpaidBackups: unpaid = [] } = credit;
  return (
    <>
      <Block title="Shutdowns">
        {stops.length === 0 ? (
          <p className="muted">
            None is scheduled. When an hour cannot be paid, its agents go on for {graceHours} hours and are stopped
            then; their state is saved first.
          </p>
        ) : (
          <>
            <p>
              <Status tone="bad">
                {many(stops.length, 'agent is stopped', 'agents are stopped')} unless credit is added before.
              </Status>{' '}
              {money(credit.owed)} pay for what is owed. Their state is saved when they stop, and more credit brings
              them back.
            </p>
            <PlainTable caption="Scheduled shutdowns" rows={stops} columns={SHUTDOWNS} id={(row) => row.agentId} />
          </>
        )}
      </Block>
      {unpaid.length > 0 ? (
        <Block title="Backups that nobody pays for">
          <p>
            <Status tone="warn">
              The backups of {many(unpaid.length, 'suspended agent')} may be deleted for good on these days.
            </Status>{' '}
            Nothing is deleted before seven days after you were told. A payment for the oldest debt moves the days.
          </p>
          <PlainTable caption="Unpaid backups" rows={unpaid} columns={UNPAID} id={(row) => row.agentId} />
        </Block>
      ) : null}
    </>
  );
}
