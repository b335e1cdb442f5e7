import type { Credit } from '../../api/operations';
import { useNow } from '../../data/clock';
import { useConfig, useCredit } from '../../data/credit';
import { creditState } from '../../data/credit-state';
import { useUrlState } from '../../data/url';
import { Figures } from '../../ui/figures';
import { clockTime, isFar, money, span, unitPrice, until } from '../../ui/format';
import { Page } from '../../ui/page';
import { Load, Skeleton } from '../../ui/states';
import { Bill } from './bill';
import { HowCharged } from './explain';
import { History } from './history';
import { Limits } from './limits';
import { Notices } from './notices';
import { isRange } from './points';
import { Shutdowns } from './shutdowns';

const DEFAULTS = { range: '7d', view: 'rows', type: '', agent: '', from: '', to: '', sort: '' };

export default function Credits() {
  const query = useCredit();
  const now = useNow(60);
  const [state, change] = useUrlState(DEFAULTS);
  const graceHours = useConfig().data?.graceHours ?? 48;
  const range = isRange(state.range) ? state.range : '7d';
  return (
    <Page title="Credits" query={query} sentence={query.data ? creditState(query.data, now).sentence : null}>
      <Load query={query} skeleton={<Skeleton lines={4} height="3rem" />}>
        {(credit: Credit) => (
          <>
            <Head credit={credit} now={now} />
            <History credit={credit} range={range} onRange={(next) => change({ range: next })} />
            <Shutdowns credit={credit} graceHours={graceHours} />
          </>
        )}
      </Load>
      <Notices />
      <Bill state={state} change={change} />
      <HowCharged />
      <Limits />
    </Page>
  );
}

function Head({ credit, now }: { credit: Credit; now: number }) {
  const { tone } = creditState(credit, now);
  const empty = credit.emptyAt === null ? null : Date.parse(credit.emptyAt);
  const low = credit.lowAt === null ? null : Date.parse(credit.lowAt);
  // A shutdown is scheduled because an hour could not be paid, whatever is used at the moment.
  const unpaid = credit.owed > 0 || credit.scheduledShutdowns.length > 0;
  return (
    <Figures
      of={[
        {
          label: 'Balance',
          value: <span title={money(credit.balance, 6)}>{money(credit.balance)}</span>,
          note: `one more agent needs ${money(credit.requiredForNextAgent)}`,
          tone: tone === 'off' ? undefined : tone,
        },
        credit.owed > 0
          ? {
              label: 'Owed',
              value: <span title={money(credit.owed, 6)}>{money(credit.owed)}</span>,
              note: 'is paid before anything else',
              tone: 'bad',
            }
          : null,
        {
          label: 'Use now',
          value: <span title={`${money(credit.burnPerHour, 6)}/h`}>{unitPrice(credit.burnPerHour)}/h</span>,
          note: credit.burnPerHour > 0 ? `about ${money(credit.burnPerHour * 24)} a day` : 'nothing runs or is kept',
        },
        {
          label: 'Lasts',
          value:
            unpaid || (empty !== null && empty <= now) ? 'used up' : empty === null ? 'for ever' : span(empty - now),
          note: unpaid
            ? 'it does not pay for the next hour'
            : empty === null
              ? 'nothing is being used'
              : low !== null && low > now && !isFar(low, now)
                ? `${until(empty, now)}; low from ${clockTime(low, now)}`
                : until(empty, now),
          tone: empty === null ? undefined : tone === 'off' ? undefined : tone,
        },
      ]}
    />
  );
}
