import { sessionStore } from './session';
import { createStore } from './store';

export type Toast = {
  readonly id: number;
  readonly tone: 'ok' | 'warn' | 'bad' | 'off' | 'busy';
  readonly text: string;
  readonly link?: { readonly to: string; readonly label: string };
  readonly requestId?: string | null;
};

const MAX = 3;
let last = 0;
export const toastStore = createStore<readonly Toast[]>([]);

export function toast(one: Omit<Toast, 'id'>): void {
  last += 1;
  const id = last;
  toastStore.set((all) => [...all.filter((other) => other.text !== one.text), { ...one, id }].slice(-MAX));
}

/** They name agents. */
sessionStore.subscribe(() => {
  if (sessionStore.get().state === 'out') toastStore.set(() => []);
});

export function closeToast(id: number): void {
  toastStore.set((all) => all.filter((one) => one.id !== id));
}
