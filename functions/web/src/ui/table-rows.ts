import {
  type RefObject,
  startTransition,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from 'react';
import { offsets, visible } from './table-window';
import { useDensity } from './theme';

/** Up to this many rows all are in the page, so that the browser's own search finds them. */
export const VIRTUAL_ABOVE = 200;

/** A row that is in the page, and the room that the rows before it, which are not, would take. */
type Part = { readonly index: number; readonly before: number };

const whole = (count: number): Part[] => Array.from({ length: count }, (_, index) => ({ index, before: 0 }));

function estimate(): number {
  const style = getComputedStyle(document.documentElement);
  const root = Number.parseFloat(style.fontSize) || 16;
  const rem = matchMedia('(max-width: 640px)').matches ? 7.5 : Number.parseFloat(style.getPropertyValue('--row'));
  return rem * root + 1;
}

/**
 * Which rows are in the page. Rows have the height that they were measured to have, by key: a reason below a row, a
 * card on a phone and another density change it. TanStack Virtual does the same for 8 KB more in the first view.
 */
export function useRows(keys: readonly string[], active: number, table: RefObject<HTMLElement | null>) {
  const virtual = keys.length > VIRTUAL_ABOVE;
  const heights = useRef(new Map<string, number>());
  const estimated = useRef(0);
  const [version, setVersion] = useState(0);
  const density = useDensity();
  const [range, setRange] = useState({ first: 0, last: 40 });
  const starts = useMemo(() => {
    void [version, density];
    if (!virtual) return [];
    const height = estimate();
    // Another layout: what was measured before says nothing.
    if (height !== estimated.current) heights.current.clear();
    estimated.current = height;
    return offsets(keys, heights.current, height);
  }, [keys, virtual, version, density]);
  const latest = useRef(starts);
  latest.current = starts;

  const update = useCallback(() => {
    const head = table.current?.querySelector('thead')?.getBoundingClientRect();
    const top = table.current?.getBoundingClientRect().top ?? 0;
    const next = visible(latest.current, -top - (head?.height ?? 0), window.innerHeight);
    // In slices: a screen full of new rows in one task would make scrolling stutter.
    startTransition(() => setRange((old) => (old.first === next.first && old.last === next.last ? old : next)));
  }, [table]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: other rows or heights show other rows at the same place
  useLayoutEffect(() => {
    if (virtual) update();
  }, [virtual, update, starts]);
  useEffect(() => {
    if (!virtual) return;
    window.addEventListener('scroll', update, { passive: true });
    const resized = () => setVersion((old) => old + 1);
    window.addEventListener('resize', resized);
    return () => {
      window.removeEventListener('scroll', update);
      window.removeEventListener('resize', resized);
    };
  }, [virtual, update]);

  const observer = useMeasured(heights, setVersion);
  const reveal = useCallback(
    (index: number, then: () => boolean) => {
      const top = (table.current?.getBoundingClientRect().top ?? 0) + window.scrollY;
      const start = latest.current[index];
      if (
        start !== undefined &&
        (start + top < window.scrollY + 120 || start + top > window.scrollY + window.innerHeight - 120)
      )
        window.scrollTo({ top: start + top - window.innerHeight / 3 });
      const wait = (frames: number) => {
        if (!then() && frames > 0) requestAnimationFrame(() => wait(frames - 1));
      };
      wait(30);
    },
    [table],
  );

  if (!virtual) return { parts: whole(keys.length), after: 0, reveal, measure: undefined };
  const parts: Part[] = [];
  let end = 0;
  const put = (index: number) => {
    const start = starts[index];
    if (start === undefined || index >= keys.length) return;
    parts.push({ index, before: Math.max(0, start - end) });
    end = starts[index + 1] ?? start;
  };
  // The focused row stays, or the focus would be lost while scrolling.
  if (active < range.first) put(active);
  for (let index = range.first; index <= range.last; index += 1) put(index);
  if (active > range.last) put(active);
  return { parts, after: Math.max(0, (starts.at(-1) ?? 0) - end), reveal, measure: observer };
}

function useMeasured(heights: RefObject<Map<string, number>>, changed: (change: (version: number) => number) => void) {
  const observer = useRef<ResizeObserver | null>(null);
  useEffect(() => () => observer.current?.disconnect(), []);
  return useCallback(
    (element: HTMLElement | null) => {
      if (!element) return;
      observer.current ??= new ResizeObserver((entries) => {
        let differs = false;
        for (const { target } of entries) {
          const key = target instanceof HTMLElement ? target.dataset.key : undefined;
          const height = target.getBoundingClientRect().height;
          if (key === undefined || !target.isConnected || height === 0) continue;
          if (Math.abs((heights.current.get(key) ?? 0) - height) < 0.5) continue;
          heights.current.set(key, height);
          differs = true;
        }
        if (differs) changed((version) => version + 1);
      });
      const watching = observer.current;
      watching.observe(element);
      return () => watching.unobserve(element);
    },
    [heights, changed],
  );
}
