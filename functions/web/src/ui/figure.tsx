import type { FigureLine } from '../data/figures';
import { Sparkline } from './sparkline';
import { Status } from './status';
import { Moment } from './time';

/** That measuring has stopped, and when it did. */
export function NotMeasuredSince({ at }: { at: number }) {
  return (
    <p>
      <Status tone="silent">
        Not measured since <Moment at={at} />
      </Status>
    </p>
  );
}

export function LatestFigure({ line }: { line: FigureLine }) {
  return (
    <>
      {line.now} {line.note ? <span className="muted">{line.note}</span> : null}
    </>
  );
}

type Course = { readonly line: FigureLine; readonly times: readonly number[]; readonly now: number };

export function FigureCourse({ line, times, now }: Course) {
  return <Sparkline label={line.sentence} times={times} lines={line.lines} to={now} max={line.max} />;
}
