import type { AgentDetail } from '../../api/operations';
import { serverNow } from '../../data/clock';
import { useConfig, useCredit } from '../../data/credit';
import { billingWord, costNow } from '../../data/shown';
import { Facts } from '../../ui/facts';
import { isFar } from '../../ui/format';
import { Money } from '../../ui/money';
import { Age, Countdown, Moment } from '../../ui/time';
import { Heartbeat } from '../agents/columns';

const HOUR = 3_600_000;
const DATABASE = {
  none: 'no database yet',
  provisioning: 'database being created',
  ready: 'database ready',
  error: 'database failed',
  unknown: 'database unknown',
} as const;

/** State, costs and the next thing that will happen. */
export function Summary({ agent }: { agent: AgentDetail }) {
  const idle = useConfig().data?.prices.idle ?? null;
  const credit = useCredit().data;
  const cost = costNow(agent, idle);
  const charged = agent.billingStatus !== 'exempt' && cost !== null && cost > 0;
  return (
    <Facts
      large
      facts={[
        {
          name: 'State',
          value:
            agent.status === 'running' ? (
              <>
                Heartbeat <Heartbeat agent={agent} suffix=" ago" />
              </>
            ) : (
              <>
                Since <Moment at={agent.updatedAt} />
              </>
            ),
          more: (
            <>
              {DATABASE[agent.databaseStatus]}, last backup{' '}
              <Age at={agent.lastBackupAt} none="none yet" suffix=" ago" />, created <Moment at={agent.createdAt} />
            </>
          ),
        },
        {
          name: 'Costs',
          value: agent.billingStatus === 'exempt' ? 'Not charged' : <Money amount={cost} digits={4} per="h" />,
          more: (
            <>
              <Money amount={agent.totalBilled} /> so far, billing {billingWord(agent.billingStatus).word.toLowerCase()}
            </>
          ),
        },
        {
          name: 'Next',
          value: <Next agent={agent} charged={charged} />,
          more: credit?.emptyAt ? <Lasts emptyAt={credit.emptyAt} /> : null,
        },
      ]}
    />
  );
}

function Next({ agent, charged }: { agent: AgentDetail; charged: boolean }) {
  if (agent.scheduledShutdownAt)
    return (
      <>
        Stopped in <Countdown to={agent.scheduledShutdownAt} />
      </>
    );
  if (!charged) return 'Nothing is scheduled';
  return (
    <>
      Charged at <Moment at={Math.ceil(serverNow() / HOUR) * HOUR} />
    </>
  );
}

function Lasts({ emptyAt }: { emptyAt: string }) {
  if (isFar(Date.parse(emptyAt), serverNow())) return 'the credit lasts for more than ten years';
  return (
    <>
      the credit lasts until <Moment at={emptyAt} />
    </>
  );
}
