import { useNow } from '../data/clock';
import { useCredit } from '../data/credit';
import { creditState, HORIZON_DAYS, horizon } from '../data/credit-state';
import { Link } from '../ui/link';
import css from './horizon.module.css';

/** A line as long as 14 days, filled as far as the credit reaches. */
export function Horizon() {
  const { data } = useCredit();
  const now = useNow(60);
  if (!data) return <div className={css.line} />;
  const { filled, marks } = horizon(data, now);
  const { tone, sentence } = creditState(data, now);
  return (
    <Link
      href="/credits"
      className={css.line}
      tabIndex={-1}
      aria-hidden="true"
      title={`${sentence} The line is ${HORIZON_DAYS} days long.`}
    >
      <span className={css.fill} data-level={tone} style={{ transform: `scaleX(${filled})` }} />
      {marks.map((mark) => (
        <span
          key={`${mark.kind} ${mark.label}`}
          className={css.mark}
          data-kind={mark.kind}
          title={mark.label}
          style={{ left: `${mark.at * 100}%` }}
        />
      ))}
    </Link>
  );
}
