import type { AgentDetail } from '../../api/operations';
import type { AgentView } from '../../data/agents';
import { useNow } from '../../data/clock';
import { useCredit } from '../../data/credit';
import { silentMinutes } from '../../data/shown';
import { money } from '../../ui/format';
import { Link } from '../../ui/link';
import { Status, type Tone } from '../../ui/status';
import { Moment } from '../../ui/time';
import { whyStopped } from './stopped';
import css from './trouble.module.css';

/** What is wrong with the agent, what it means, and what helps. Nothing while nothing is. */
export function Trouble({ view, detail }: { view: AgentView; detail: AgentDetail }) {
  const now = useNow(30);
  const credit = useCredit().data;
  const { row } = view;
  const { lastDeath: death, stopNote } = detail;
  if (view.doing || row.pendingAction) return null;
  const silent = silentMinutes(row, now);
  if (row.status === 'error')
    return (
      <Box tone="bad" title={row.errorMessage ?? 'It failed, and the server gave no reason.'}>
        Its data and backups are kept.{' '}
        {death?.outOfMemory ? 'It needs less to do, or an image that needs less memory. ' : ''}
        Start it again, or look at its logs if it has any.
        {death ? <LastLines death={death} /> : null}
      </Box>
    );
  if (row.status === 'disconnected')
    return (
      <Box tone="unknown" title="Its host does not answer.">
        The agent may still be running there. You are not charged meanwhile, and it is connected again by itself once
        the host answers.
      </Box>
    );
  if (row.status === 'unknown')
    return (
      <Box tone="unknown" title="Its state is not known.">
        Another program wrote a status that this page does not know.
      </Box>
    );
  if (row.status === 'stopped' && row.billingStatus === 'suspended') {
    const missing = credit ? credit.requiredForNextAgent - credit.balance : 0;
    return (
      <Box tone="warn" title="It was stopped for lack of credit.">
        Its state was saved.{' '}
        {missing > 0 ? `${money(missing)} more credit brings it back. ` : enough(row.stopReason === 'billing')}
        <Link href="/credits">Look at the credit</Link>
      </Box>
    );
  }
  const stopped = whyStopped(row);
  if (stopped)
    return (
      <Box tone="off" title={stopped.title}>
        {stopNote ? (
          <p>
            The reason: <q>{stopNote}</q>
          </p>
        ) : null}
        {stopped.text}
      </Box>
    );
  if (row.scheduledShutdownAt)
    return (
      <Box
        tone="bad"
        title={
          <>
            It will be stopped at <Moment at={row.scheduledShutdownAt} /> for lack of credit.
          </>
        }
      >
        Credit that arrives before keeps it running. <Link href="/credits">Look at the credit</Link>
      </Box>
    );
  if (silent !== null)
    return (
      <Box tone="silent" title={`It has not been heard of for ${silent} min.`}>
        Its container runs, but it does not answer the check of each minute. Its logs may say why; stopping and starting
        it often helps.
      </Box>
    );
  return null;
}

/** Agents that this cloud's billing stopped start again by themselves; those of an older application do not. */
function enough(startsByItself: boolean): string {
  return startsByItself
    ? 'There is enough credit now: it starts by itself within a few minutes, unless your settings forbid it. '
    : 'There is enough credit now: start it. ';
}

function Box({ tone, title, children }: { tone: Tone; title: React.ReactNode; children: React.ReactNode }) {
  return (
    <div className={css.box} data-kind={tone}>
      <Status tone={tone}>{title}</Status>
      <div className="muted">{children}</div>
    </div>
  );
}

/** What the container wrote before it died. The container itself may be gone. */
function LastLines({ death }: { death: NonNullable<AgentDetail['lastDeath']> }) {
  const lines = death.log.trimEnd();
  if (lines === '')
    return (
      <p>
        Its container ended at <Moment at={death.at} /> and had written nothing.
      </p>
    );
  return (
    <details className={css.last}>
      <summary>
        What its container wrote last, before it ended at <Moment at={death.at} />
      </summary>
      <pre>{lines}</pre>
    </details>
  );
}
