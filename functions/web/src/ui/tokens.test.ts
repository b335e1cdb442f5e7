import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

const css = readFileSync(new URL('./tokens.css', import.meta.url), 'utf8');
const token = (name: string, dark: boolean): string => {
  const match = new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`).exec(css);
  return (dark ? match?.[2] : match?.[1]) ?? '';
};
const channels = (hex: string) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255);
function luminance(rgb: number[]): number {
  const [r = 0, g = 0, b = 0] = rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const contrast = (a: number[], b: number[]) => {
  const [x = 0, y = 0] = [luminance(a), luminance(b)].sort((m, n) => n - m);
  return (x + 0.05) / (y + 0.05);
};
const tint = (color: number[], background: number[]) =>
  color.map((c, index) => 0.1 * c + 0.9 * (background[index] ?? 0));

describe.each([
  ['light', false],
  ['dark', true],
] as const)('%s', (_name, dark) => {
  const backgrounds = ['bg', 'surface', 'raised'].map((name) => channels(token(name, dark)));
  const surface = channels(token('surface', dark));
  test.each(['text', 'muted', 'accent', 'ok', 'warn', 'bad', 'off', 'unknown'])(
    '%s can be read on every background',
    (name) => {
      const color = channels(token(name, dark));
      for (const background of [...backgrounds, tint(color, surface)])
        expect(contrast(color, background)).toBeGreaterThanOrEqual(4.5);
    },
  );
  test('borders of controls can be seen', () => {
    for (const background of backgrounds)
      expect(contrast(channels(token('control', dark)), background)).toBeGreaterThanOrEqual(3);
  });
  test('text on accent and on danger can be read', () => {
    expect(contrast(channels(token('on-accent', dark)), channels(token('accent', dark)))).toBeGreaterThanOrEqual(4.5);
    expect(contrast(channels(token('on-bad', dark)), channels(token('bad', dark)))).toBeGreaterThanOrEqual(4.5);
  });
});
