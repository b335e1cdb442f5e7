import { useConfig } from '../../data/credit';
import { Disclosure } from '../../ui/disclosure';
import { money, unitPrice } from '../../ui/format';
import { Load } from '../../ui/states';

/** How the bill comes about, with the prices of this deployment. */
export function HowCharged() {
  const config = useConfig();
  return (
    <Disclosure summary="How it is charged">
      {() => (
        <Load query={config}>
          {({ prices, minimumDeposit, lowCredit, graceHours }) => (
            <div className="stack prose">
              <p>
                An agent costs {unitPrice(prices.running)} an hour while it runs, and {unitPrice(prices.idle)} an hour
                while it is stopped or has failed and a backup of it is kept. An agent that was never started, or whose
                host does not answer, costs nothing.
              </p>
              <p>
                Time is metered to the second and charged each full hour: seconds × price ÷ 3,600, rounded to six
                decimals. Each such part is a line of the bill. A line is charged as a whole or not at all, the oldest
                first; the balance never falls below zero.
              </p>
              <p>
                Below {money(lowCredit)} you are warned. What cannot be charged is owed. Agents that owe something go on
                for {graceHours} hours; then they are stopped and their state is saved. When there is credit again, the
                next hour pays what is owed first.
              </p>
              <p>
                To start an agent there must be {money(minimumDeposit)}, or enough for a day of all agents, beyond what
                is owed.
              </p>
            </div>
          )}
        </Load>
      )}
    </Disclosure>
  );
}
