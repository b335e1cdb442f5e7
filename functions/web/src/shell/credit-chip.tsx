import { useNow } from '../data/clock';
import { useCredit } from '../data/credit';
import { creditState } from '../data/credit-state';
import { money } from '../ui/format';
import { Link } from '../ui/link';
import { isStale } from '../ui/states';
import { Status } from '../ui/status';
import css from './credit-chip.module.css';

/** The balance and how long it lasts, on every page. */
export function CreditChip() {
  const query = useCredit();
  const now = useNow(60);
  if (!query.data) return <span className={css.chip}>{query.error ? 'Credit unknown' : ' '}</span>;
  const { tone, lasts, sentence } = creditState(query.data, now);
  return (
    <Link href="/credits" className={css.chip} title={sentence} data-old={isStale(query) || undefined}>
      {tone === 'off' ? (
        <span className={css.balance}>{money(query.data.balance)}</span>
      ) : (
        <Status tone={tone}>{money(query.data.balance)}</Status>
      )}
      <span className={css.lasts}>{lasts}</span>
      <span className="unseen">. {sentence}</span>
    </Link>
  );
}
