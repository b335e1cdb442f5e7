import { queryOptions, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api, unwrap } from '../../api/client';
import { keys } from '../../api/keys';
import type { SchemaBackup, SchemaJob, SchemaTransaction } from '../../api/openapi.gen';
import { every } from '../../data/client';
import { jobWord } from '../../data/steps';
import { Button } from '../../ui/button';
import { money, span, unitPrice } from '../../ui/format';
import { Refusal } from '../../ui/refusal';
import { Absent, Block, Note, Skeleton, StaleFrame } from '../../ui/states';
import { Status, type Tone } from '../../ui/status';
import { type Column, DataTable } from '../../ui/table';
import { Moment } from '../../ui/time';
import { backupOptions, backupWord } from './backups';
import type { TabProps } from './page';

const jobsOptions = (id: string) =>
  queryOptions({
    queryKey: keys.agentJobs(id),
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET('/api/v1/milady/agents/{agentId}/jobs', { params: { path: { agentId: id } }, signal })))
        .data,
    refetchInterval: every(60_000),
  });

const chargeOptions = (id: string) =>
  queryOptions({
    queryKey: keys.charges(id),
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET('/api/v1/credits/transactions', { params: { query: { agentId: id, limit: 50 } }, signal })))
        .data,
    refetchInterval: every(60_000),
  });

type Event = {
  readonly id: string;
  readonly at: string;
  readonly tone: Tone;
  readonly what: string;
  readonly more: string;
  readonly amount: number | null;
};

const JOB_TONE = { pending: 'busy', in_progress: 'busy', completed: 'ok', failed: 'bad' } as const satisfies Record<
  SchemaJob['status'],
  Tone
>;

const fromJob = (job: SchemaJob): Event => ({
  id: job.id,
  at: job.createdAt,
  tone: JOB_TONE[job.status],
  what: jobWord(job.type),
  more:
    job.error ??
    (job.completedAt ? `took ${span(Date.parse(job.completedAt) - Date.parse(job.createdAt))}` : 'in progress'),
  amount: null,
});
const fromBackup = (backup: SchemaBackup): Event => ({
  id: backup.id,
  at: backup.createdAt,
  tone: 'ok',
  what: 'Backup',
  more: backupWord(backup.snapshotType).toLowerCase(),
  amount: null,
});
const fromCharge = (charge: SchemaTransaction): Event => ({
  id: `${charge.id} ${charge.periodStart ?? ''} ${charge.kind ?? ''}`,
  at: charge.periodEnd ?? charge.createdAt,
  tone: 'off',
  what: charge.kind === 'idle' ? 'Charge for backups' : 'Charge for running',
  more:
    charge.seconds === null || charge.hourlyRate === null
      ? (charge.description ?? '')
      : `${span(charge.seconds * 1000)} at ${unitPrice(charge.hourlyRate)} an hour`,
  amount: charge.amount,
});

const COLUMNS: readonly Column<Event>[] = [
  { id: 'at', header: 'When', width: '9rem', card: 'aside', cell: (event) => <Moment at={event.at} /> },
  {
    id: 'what',
    header: 'What',
    width: '13rem',
    card: 'title',
    cell: (event) => <Status tone={event.tone}>{event.what}</Status>,
  },
  { id: 'more', header: '', cell: (event) => <span title={event.more}>{event.more}</span> },
  {
    id: 'amount',
    header: 'Amount',
    width: '8rem',
    end: true,
    cell: (event) => (event.amount === null ? null : money(event.amount, 6)),
  },
];

/** Jobs, backups and charges in one list, newest first. */
export default function Activity({ agent }: TabProps) {
  const jobs = useQuery(jobsOptions(agent.id));
  const backups = useQuery(backupOptions(agent.id));
  const charges = useQuery(chargeOptions(agent.id));
  const events = useMemo(() => {
    const all = [
      ...(jobs.data ?? []).map(fromJob),
      ...(backups.data ?? []).map(fromBackup),
      ...(charges.data ?? []).map(fromCharge),
    ];
    return all.sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0)).slice(0, 100);
  }, [jobs.data, backups.data, charges.data]);
  const parts = [
    { what: 'jobs', query: jobs },
    { what: 'backups', query: backups },
    { what: 'charges', query: charges },
  ];
  const absent = parts.filter(({ query }) => query.data === undefined);
  // What is still on its way is waited for, although another part failed.
  const first = (absent.find(({ query }) => !query.error) ?? absent[0])?.query;
  return (
    <Block title="Activity" query={charges}>
      {absent.length < parts.length
        ? absent.map(({ what, query }) =>
            query.error ? (
              <Refusal
                key={what}
                error={query.error}
                title={`The list is not complete: its ${what} are missing`}
                actions={
                  <Button small onClick={() => void query.refetch()}>
                    Try again
                  </Button>
                }
              />
            ) : null,
          )
        : null}
      {events.length > 0 ? (
        <StaleFrame query={jobs}>
          <StaleFrame query={backups}>
            <StaleFrame query={charges}>
              <DataTable caption="What happened" rows={events} columns={COLUMNS} id={(event) => event.id} />
            </StaleFrame>
          </StaleFrame>
        </StaleFrame>
      ) : first === undefined ? (
        <Note title="Nothing happened yet">
          <p>Starts, stops, backups and charges appear here.</p>
        </Note>
      ) : absent.length === parts.length || !first.error ? (
        <Absent query={first} what="Its activity" skeleton={<Skeleton lines={5} height="1.75rem" />} />
      ) : null}
    </Block>
  );
}
