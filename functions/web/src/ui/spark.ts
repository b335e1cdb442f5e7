/** A line of a sparkline, as an SVG path. Pure. */
export type Values = readonly (number | null)[];

export const WIDTH = 160;
export const HEIGHT = 32;
const DAY = 86_400_000;
/** Where values are further apart than this, nothing is known in between. */
const GAP = 16 * 60_000;

const round = (n: number) => Math.round(n * 10) / 10;

/** The last 24 hours until `to`; times in milliseconds, ascending. A value alone becomes a dot. */
export function sparkPath(times: readonly number[], values: Values, to: number, max: number): string {
  let path = '';
  let before = Number.NEGATIVE_INFINITY;
  times.forEach((time, index) => {
    const value = values[index];
    if (value === null || value === undefined || time < to - DAY) return;
    const x = round(WIDTH * (1 - (to - time) / DAY));
    const y = round(1 + (HEIGHT - 2) * (1 - Math.min(1, value / max)));
    const joins = time - before <= GAP && values[index - 1] !== null;
    path += joins ? `L${x} ${y}` : `M${x} ${y}h0`;
    before = time;
  });
  return path;
}
