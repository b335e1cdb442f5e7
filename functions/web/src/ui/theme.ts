import { createStore, useStore } from '../data/store';

export type Theme = 'system' | 'light' | 'dark';
export type Density = 'comfortable' | 'dense';

const read = (name: string): string | null => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
};
const write = (name: string, value: string) => {
  try {
    localStorage.setItem(name, value);
  } catch {}
};

// theme-first.js reads this key before the first paint.
const themeStore = createStore<Theme>(
  ((value) => (value === 'light' || value === 'dark' ? value : 'system'))(read('theme')),
);
const densityStore = createStore<Density>(read('density') === 'dense' ? 'dense' : 'comfortable');

function apply() {
  const { dataset } = document.documentElement;
  const theme = themeStore.get();
  if (theme === 'system') delete dataset.theme;
  else dataset.theme = theme;
  if (densityStore.get() === 'dense') dataset.density = 'dense';
  else delete dataset.density;
}
apply();

export const useTheme = (): Theme => useStore(themeStore, (theme) => theme);
export function setTheme(theme: Theme): void {
  themeStore.set(() => theme);
  write('theme', theme);
  apply();
}

export const useDensity = (): Density => useStore(densityStore, (density) => density);
export function setDensity(density: Density): void {
  densityStore.set(() => density);
  write('density', density);
  apply();
}
