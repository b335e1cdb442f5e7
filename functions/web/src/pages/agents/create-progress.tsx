import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { ApiError } from '../../api/errors';
import type { SchemaJob } from '../../api/openapi.gen';
import { act } from '../../data/agent-actions';
import { type AgentView, agentOptions, useAgentView } from '../../data/agents';
import { nameOf } from '../../data/announcer';
import { jobOptions } from '../../data/jobs';
import { useWhyNot } from '../../data/session';
import { phases } from '../../data/steps';
import { Button, ButtonLink } from '../../ui/button';
import { Absent, Skeleton } from '../../ui/states';
import { Stepper } from '../../ui/stepper';
import { Elapsed } from '../../ui/time';
import { AgentRefusal } from './columns';

type Props = {
  readonly agentId: string;
  readonly jobId: string | null;
  readonly onJob: (jobId: string) => void;
  readonly onClose: () => void;
};

export function CreateProgress({ agentId, jobId, onJob, onClose }: Props) {
  const agent = useQuery(agentOptions(agentId));
  const view = useAgentView(agentId);
  const unopened = useWhyNot('open');
  const unstarted = useWhyNot('start');
  const newest = view?.jobId ?? null;
  useEffect(() => {
    if (newest && newest !== jobId) onJob(newest);
  }, [newest, jobId, onJob]);
  const job = useQuery({ ...jobOptions(newest ?? jobId ?? '', agentId), enabled: Boolean(newest ?? jobId) });

  if (!view) return <Absent query={agent} what="This agent" skeleton={<Skeleton lines={4} />} />;
  const name = nameOf(view.row);
  const running = view.row.status === 'running' && !view.doing;
  const current = job.data?.data ?? null;
  const failed =
    current?.status === 'failed' || (view.row.status === 'error' && !view.doing && !view.row.pendingAction);
  const steps = phases(running && !current ? DONE : current).map((phase) => ({
    ...phase,
    note: phase.state === 'active' || phase.state === 'failed' ? <Inner inner={phase.inner} job={current} /> : null,
  }));
  const retry = () => act({ kind: 'start', agent: view.row });
  return (
    <div className="stack">
      <p>
        <strong>{name}</strong> {sentence(running, failed, view.refusal)}
      </p>
      <Stepper steps={steps} label={`Start of ${name}`} />
      {failed && !view.refusal ? (
        <p role="alert">{current?.error ?? view.row.errorMessage ?? 'The server gave no reason.'}</p>
      ) : null}
      {current?.status === 'pending' && current.error ? (
        <p className="muted">
          Attempt {current.attempts} failed: {current.error}. It is tried again by itself.
        </p>
      ) : null}
      <AgentRefusal agent={view} />
      <div className="row">
        {running ? (
          <>
            <ButtonLink
              look="primary"
              blocked={unopened}
              href={`/agents/${agentId}/open`}
              target="_blank"
              rel="noopener"
            >
              Open
            </ButtonLink>
            <ButtonLink href={`/agents/${agentId}`}>Show the agent</ButtonLink>
          </>
        ) : failed || (view.refusal && !view.doing) ? (
          <>
            <Button look="primary" blocked={unstarted} onClick={retry}>
              Try again
            </Button>
            <ButtonLink href={`/agents/${agentId}/logs`}>Show its logs</ButtonLink>
          </>
        ) : null}
        <Button onClick={onClose}>{running || failed ? 'Close' : 'Close, it goes on'}</Button>
      </div>
    </div>
  );
}

const DONE = { status: 'completed', steps: [] } as const satisfies Pick<SchemaJob, 'status' | 'steps'>;

function sentence(running: boolean, failed: boolean, refusal: AgentView['refusal']): string {
  if (running) return 'is running.';
  if (failed) return 'could not be started.';
  if (refusal === null) return 'is being started. That takes about a minute.';
  const inDoubt = refusal.error instanceof ApiError && refusal.error.doubt !== null;
  return inDoubt ? 'is created.' : 'is created, but it was not started.';
}

function Inner({ inner, job }: { inner: string | null; job: SchemaJob | null }) {
  const text = inner ? inner.charAt(0).toUpperCase() + inner.slice(1) : '';
  if (!job) return text;
  const attempt = job.attempts > 1 ? `, attempt ${job.attempts}${job.maxAttempts ? ` of ${job.maxAttempts}` : ''}` : '';
  return (
    <>
      {text}
      {attempt} · <Elapsed since={job.createdAt} until={job.completedAt} />
    </>
  );
}
