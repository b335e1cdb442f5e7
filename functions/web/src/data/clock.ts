import { useSyncExternalStore } from 'react';

/** Server's time minus this device's. The `Date` header counts whole seconds, so small differences mean nothing. */
let offset = 0;

export function offsetFrom(date: string | null, now: number, old: number): number {
  const server = date ? Date.parse(date) : Number.NaN;
  if (Number.isNaN(server)) return old;
  const measured = server + 500 - now;
  return Math.abs(measured - old) < 2_000 ? old : Math.abs(measured) < 2_000 ? 0 : measured;
}

export function heard(date: string | null): void {
  offset = offsetFrom(date, Date.now(), offset);
}

/** Milliseconds since 1970 by the server's clock. */
export const serverNow = (): number => Date.now() + offset;

/** A moment of this device's clock (as TanStack Query keeps it) by the server's clock. */
export const toServer = (local: number): number => local + offset;

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let second = 0;

function tick() {
  second = Math.floor(serverNow() / 1000);
  for (const listener of listeners) listener();
}

function run() {
  const wanted = listeners.size > 0 && !document.hidden;
  if (wanted && timer === undefined) {
    tick();
    timer = setInterval(tick, 1000);
  } else if (!wanted && timer !== undefined) {
    clearInterval(timer);
    timer = undefined;
  }
}

if (typeof document !== 'undefined') document.addEventListener('visibilitychange', run);

function subscribe(listener: () => void) {
  listeners.add(listener);
  run();
  return () => {
    listeners.delete(listener);
    run();
  };
}

/** The server's time, renewed every `grain` seconds while the page is visible. One timer serves all. */
export function useNow(grain = 1): number {
  return (
    useSyncExternalStore(subscribe, () => Math.floor((second || Math.floor(serverNow() / 1000)) / grain) * grain) * 1000
  );
}
