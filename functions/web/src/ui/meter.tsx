import { memo } from 'react';
import css from './meter.module.css';
import { Status } from './status';

export type Level = 'ok' | 'warn' | 'bad';
export type Marks = { readonly warning: number; readonly critical: number };

/** A value on a threshold has reached it, as on the server. */
export function level(value: number, marks: Marks | null): Level {
  if (marks === null || value < marks.warning) return 'ok';
  return value < marks.critical ? 'warn' : 'bad';
}

type Props = {
  readonly label: string;
  /** Null is "not read", which is not zero. */
  readonly value: number | null;
  readonly text: string;
  readonly max?: number;
  /** Null if the thresholds are not known: then there is a number and no bar. */
  readonly marks: Marks | null;
  /** What the server says about it, where it knows more. */
  readonly tone?: Level;
};

const WIDTH = 56;

/** A number and a small bar with notches where it becomes a warning and critical. */
export const Meter = memo(function Meter({ label, value, text, max = 100, marks, tone }: Props) {
  if (value === null) return <span className={css.none}>not read</span>;
  const reached = tone ?? level(value, marks);
  const at = (part: number) => Math.max(0, Math.min(WIDTH, (part / max) * WIDTH));
  return (
    <span className={css.meter}>
      <span className={css.figure}>{reached === 'ok' ? text : <Status tone={reached}>{text}</Status>}</span>
      {marks ? (
        // biome-ignore lint/a11y/useSemanticElements: <meter> cannot show its thresholds
        <span
          role="meter"
          aria-label={label}
          aria-valuemin={0}
          aria-valuemax={max}
          aria-valuenow={Math.min(value, max)}
          aria-valuetext={`${text}; warning from ${marks.warning}, critical from ${marks.critical}`}
          title={`${label}: ${text}. Warning from ${marks.warning}, critical from ${marks.critical}.`}
        >
          <svg viewBox={`0 0 ${WIDTH} 8`} className={css.bar} aria-hidden="true">
            <rect x="0" y="2" width={WIDTH} height="4" className={css.track} />
            <rect x="0" y="2" width={at(value)} height="4" className={css.fill} data-level={reached} />
            <path d={`M${at(marks.warning)} 0v8M${at(marks.critical)} 0v8`} className={css.notch} />
          </svg>
        </span>
      ) : null}
    </span>
  );
});

const MOST = 24;
const STEP = 7;

/** Slots as cells: filled ones are taken. More than fit become a bar. */
export const Cells = memo(function Cells({ taken, all, label }: { taken: number; all: number; label: string }) {
  const text = `${taken}/${all}`;
  const cells = Math.max(taken, all);
  const full = taken >= all;
  if (cells > MOST)
    return <Meter label={label} value={all > 0 ? (taken / all) * 100 : null} text={text} marks={SLOTS} />;
  return (
    <span className={css.meter}>
      <span className={css.figure}>{text}</span>
      <svg
        viewBox={`0 0 ${Math.max(1, cells) * STEP} 10`}
        width={Math.max(1, cells) * STEP}
        height="10"
        className={css.cells}
        role="img"
        aria-label={`${label}: ${taken} of ${all} are taken`}
      >
        {Array.from({ length: cells }, (_, index) => (
          <rect
            // biome-ignore lint/suspicious/noArrayIndexKey: cells have no identity
            key={index}
            x={index * STEP + 0.5}
            y="0.5"
            width={STEP - 2}
            height="9"
            className={css.cell}
            data-taken={index < taken || undefined}
            data-level={index >= all ? 'bad' : full ? 'warn' : undefined}
          />
        ))}
      </svg>
    </span>
  );
});

const SLOTS: Marks = { warning: 85, critical: 100 };
