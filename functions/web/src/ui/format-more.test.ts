import { describe, expect, test } from 'vitest';
import { hms, hours, isoDay, nextDay, period, seconds, utcDay } from './format-more';

describe('moments', () => {
  test('a day of the server is named by its own calendar, wherever the reader is', () => {
    expect(utcDay('2026-11-27T00:00:00.000Z')).toBe('Fri 27 Nov 2026');
    expect(isoDay(Date.parse('2026-11-27T23:59:59.999Z'))).toBe('2026-11-27');
  });
  test('the day after crosses months and years, and is null for what is no day', () => {
    expect(nextDay('2026-12-31')).toBe('2027-01-01');
    expect(nextDay('2028-02-28')).toBe('2028-02-29');
    expect(nextDay('yesterday')).toBeNull();
    expect(nextDay('2026-13-01')).toBeNull();
  });
  test('a period has seconds only where they say something', () => {
    const at = new Date(2026, 10, 27, 14, 0, 0).getTime();
    expect(period(at, at + 3_600_000, at)).toBe('14:00 to 15:00');
    expect(period(at + 1_000, at + 3_600_000, at)).toBe('14:00:01 to 15:00:00');
    expect(period(at, at + 3_600_000, at + 48 * 3_600_000)).toBe('27 Nov 14:00 to 15:00');
  });
});

describe('lengths', () => {
  test('time is exact to the fraction that was charged', () => {
    expect(hms(3600)).toBe('1:00:00');
    expect(hms(3552.5)).toBe('0:59:12.5');
    expect(hms(0.000001)).toBe('0:00:00.000001');
    expect(seconds(3552.5)).toBe('3,552.5 s');
  });
  test('a short use is not shown as none', () => {
    expect(hours(0)).toBe('0 h');
    expect(hours(12)).toBe('<0.1 h');
    expect(hours(5400)).toBe('1.5 h');
  });
});
