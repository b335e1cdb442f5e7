/** Where each row begins, and at the end where the last one ends. A row that was never measured has the estimate. */
export function offsets(
  keys: readonly string[],
  heights: ReadonlyMap<string, number>,
  estimate: number,
): readonly number[] {
  const starts: number[] = [0];
  let at = 0;
  for (const key of keys) {
    at += heights.get(key) ?? estimate;
    starts.push(at);
  }
  return starts;
}

/** The last row that begins at or before `y`. */
function rowAt(starts: readonly number[], y: number): number {
  let low = 0;
  let high = Math.max(0, starts.length - 2);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] ?? 0) <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Rows come and go in steps of this many, so that most scroll events change nothing. */
const STEP = 4;

/** First and last row for a window of `height` that begins `y` below the first row, and a step more on both sides. */
export function visible(starts: readonly number[], y: number, height: number): { first: number; last: number } {
  const first = Math.floor(rowAt(starts, y) / STEP) * STEP - STEP;
  const last = Math.ceil((rowAt(starts, y + height) + 1) / STEP) * STEP + STEP - 1;
  return { first: Math.max(0, first), last: Math.min(Math.max(0, starts.length - 2), last) };
}
