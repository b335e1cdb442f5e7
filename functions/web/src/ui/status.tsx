import { memo } from 'react';
import css from './status.module.css';

export type Tone = 'ok' | 'busy' | 'warn' | 'bad' | 'off' | 'unknown' | 'silent';

/** Each tone has a shape of its own, because colour alone says nothing to many people. */
function Shape({ tone }: { tone: Tone }) {
  switch (tone) {
    case 'ok':
      return <circle cx="8" cy="8" r="6" fill="currentColor" />;
    case 'busy':
      return (
        <g fill="none" stroke="currentColor" strokeWidth="2.5">
          <circle cx="8" cy="8" r="5.5" opacity="0.3" />
          <path d="M8 2.5A5.5 5.5 0 0 1 13.5 8" className={css.arc} strokeLinecap="round" />
        </g>
      );
    case 'warn':
      return <path d="M8 1.5 15 14H1z" fill="currentColor" />;
    case 'bad':
      return (
        <g>
          <path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z" fill="currentColor" />
          <path d="M8 4v5M8 11v1.5" stroke="var(--surface)" strokeWidth="2" />
        </g>
      );
    case 'off':
      return <circle cx="8" cy="8" r="5.25" fill="none" stroke="currentColor" strokeWidth="1.75" />;
    case 'unknown':
      return (
        <g>
          <path d="M8 .5 15.5 8 8 15.5.5 8z" fill="currentColor" />
          <path
            d="M6 6.4C6 5.2 6.9 4.6 8 4.6s2 .7 2 1.7c0 1.4-2 1.5-2 3M8 10.7v1.2"
            fill="none"
            stroke="var(--surface)"
            strokeWidth="1.5"
          />
        </g>
      );
    case 'silent':
      return <path d="M13.2 5.4A5.8 5.8 0 1 0 13.2 10.6" fill="none" stroke="currentColor" strokeWidth="2.5" />;
    default:
      return tone satisfies never;
  }
}

type Props = { readonly tone: Tone; readonly children: React.ReactNode; readonly note?: React.ReactNode };

/** Shape and word; the note says more in muted text. */
export const Status = memo(function Status({ tone, children, note }: Props) {
  return (
    <span className={css.status}>
      <svg viewBox="0 0 16 16" className={css.shape} data-tone={tone} aria-hidden="true">
        <Shape tone={tone} />
      </svg>
      <span className={css.words}>
        <span className={css.word} data-tone={tone}>
          {children}
        </span>
        {note ? <span className={css.note}> {note}</span> : null}
      </span>
    </span>
  );
});

/** A word on a tint, for what is no status: a count, a kind. */
export function Badge({ tone = 'off', children }: { tone?: Tone; children: React.ReactNode }) {
  return (
    <span className={css.badge} data-tone={tone}>
      {children}
    </span>
  );
}
