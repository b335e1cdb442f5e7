import { memo, useCallback, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { type Line, pieces } from './log-lines';
import css from './logs.module.css';

/** Following is no mode: the reader follows while the end is on the screen. */
export function useFollowing() {
  const box = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  const [seen, setSeen] = useState(0);
  const [last, setLast] = useState(0);
  const top = useRef(0);
  // Again in the next frames: chunks that come near get their real height, and move the end away.
  const pin = useCallback((frames = 3) => {
    const element = box.current;
    if (!element) return;
    element.scrollTop = element.scrollHeight;
    top.current = element.scrollTop;
    if (frames > 0) requestAnimationFrame(() => pin(frames - 1));
  }, []);
  const toEnd = useCallback(() => {
    pin();
    setFollowing(true);
  }, [pin]);
  const onScroll = useCallback(() => {
    const element = box.current;
    if (!element) return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
    // Lines that get their real height also move the end away; only the reader scrolls upwards.
    const upwards = element.scrollTop < top.current;
    top.current = element.scrollTop;
    setFollowing((old) => atEnd || (old && !upwards));
  }, []);
  const landed = useCallback(
    (newest: number) => {
      setLast(newest);
      if (!following) return;
      setSeen(newest);
      pin();
    },
    [following, pin],
  );
  return { box, following, unseen: Math.max(0, last - seen), toEnd, onScroll, landed };
}

export type Following = ReturnType<typeof useFollowing>;
type Times = 'local' | 'utc' | 'none';

const CHUNK = 100;

type Props = {
  readonly lines: readonly Line[];
  readonly wrap: boolean;
  readonly times: Times;
  readonly follow: Following;
  readonly dropped: number;
};

/**
 * All lines are in the page, in chunks of 100 that the browser lays out only when they are near (`content-visibility`):
 * its own search and selection work over all of them, and a new line renders one chunk.
 */
export function LogView({ lines, wrap, times, follow, dropped }: Props) {
  const chunks = useMemo(() => chunked(lines), [lines]);
  const newest = lines.at(-1)?.seq ?? 0;
  const { landed } = follow;
  useLayoutEffect(() => landed(newest), [landed, newest]);
  return (
    <div
      ref={follow.box}
      className={css.box}
      data-wrap={wrap}
      onScroll={follow.onScroll}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reachable by keyboard
      tabIndex={0}
      role="log"
      aria-label="Log of the agent"
      aria-live="off"
    >
      {dropped > 0 ? <p className={css.dropped}>{dropped} older lines are no longer shown.</p> : null}
      {chunks.map((chunk) => (
        <Chunk key={chunk[0]?.seq} lines={chunk} times={times} />
      ))}
    </div>
  );
}

/** By number, not by place: dropping the oldest lines must not shift all chunks. */
function chunked(lines: readonly Line[]): readonly (readonly Line[])[] {
  const chunks: Line[][] = [];
  let number = -1;
  for (const line of lines) {
    const own = Math.floor(line.seq / CHUNK);
    if (own !== number) chunks.push([]);
    number = own;
    chunks.at(-1)?.push(line);
  }
  return chunks;
}

const Chunk = memo(
  function Chunk({ lines, times }: { lines: readonly Line[]; times: Times }) {
    return (
      <div className={css.chunk} style={{ containIntrinsicSize: `auto ${lines.length * 20}px` }}>
        {lines.map((line) => (
          <div key={line.seq} className={css.line} data-gap={line.gap}>
            {times === 'none' || line.at === null ? null : (
              <time className={css.time} title={line.at}>
                {times === 'utc' ? line.at.slice(11, 19) : clock(line.at)}{' '}
              </time>
            )}
            {pieces(line.text).map((piece, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: pieces of a line never move
              <span key={index} data-color={piece.color ?? undefined} data-bold={piece.bold || undefined}>
                {piece.text}
              </span>
            ))}
          </div>
        ))}
      </div>
    );
  },
  // Lines never change, so equal numbers are equal lines.
  (a, b) =>
    a.times === b.times &&
    a.lines.length === b.lines.length &&
    a.lines.every((line, index) => line.seq === b.lines[index]?.seq),
);

function clock(at: string): string {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}
