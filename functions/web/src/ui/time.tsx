import { useNow } from '../data/clock';
import { ago, clockTime, longTime, shortDate, span } from './format';

/** "now", "8 s", "7 min", "3 h", then the date. The title is the full time, local and in UTC. */
export function Age({
  at,
  none = '-',
  suffix = '',
}: {
  at: string | number | null;
  none?: string;
  suffix?: ' ago' | '';
}) {
  const now = useNow(1);
  if (at === null) return <span className="muted">{none}</span>;
  const then = typeof at === 'number' ? at : Date.parse(at);
  return (
    <time dateTime={new Date(then).toISOString()} onPointerEnter={titled(then)} className="nowrap">
      {inText(ago(now - then), suffix) ?? shortDate(then)}
    </time>
  );
}

/** Sets the title only when somebody points at the element: two zones for each row would cost more than the row. */
const titled = (at: number) => (event: React.PointerEvent<HTMLElement>) => {
  event.currentTarget.title = longTime(at);
};

const inText = (age: string | null, suffix: string) => (age === null || age === 'now' ? age : age + suffix);

/** The time that is left, "due now" once there is none. */
export function Countdown({ to }: { to: string }) {
  const now = useNow(1);
  const then = Date.parse(to);
  return (
    <time dateTime={to} onPointerEnter={titled(then)} className="nowrap">
      {then <= now ? 'due now' : span(then - now)}
    </time>
  );
}

/** How long something has been going on. */
export function Elapsed({ since, until }: { since: string | number; until?: string | number | null }) {
  const now = useNow(1);
  const from = typeof since === 'number' ? since : Date.parse(since);
  const end = until === null || until === undefined ? now : typeof until === 'number' ? until : Date.parse(until);
  const seconds = Math.max(0, Math.round((end - from) / 1000));
  return <span className="nowrap">{`${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`}</span>;
}

/** A moment by the clock: the time if it is today, otherwise the date. */
export function Moment({ at, seconds = false }: { at: string | number; seconds?: boolean }) {
  const now = useNow(60);
  const then = typeof at === 'number' ? at : Date.parse(at);
  return (
    <time dateTime={new Date(then).toISOString()} onPointerEnter={titled(then)} className="nowrap">
      {clockTime(then, now, seconds)}
    </time>
  );
}
