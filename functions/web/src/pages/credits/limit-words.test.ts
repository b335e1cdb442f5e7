import { expect, test } from 'vitest';
import { amountTone, limitsSentence, usedText } from './limit-words';

const agents = (used: number, allowed = 200) => ({ limit: 'agents', used, allowed }) as const;
const backups = (used: number) => ({ limit: 'snapshotsPerAgentAndMinute', used, allowed: 1 }) as const;
const running = (used: number) => ({ limit: 'runningSnapshots', used, allowed: 10 }) as const;
const starts = (used: number) => ({ limit: 'startsPerAgentAndHour', used, allowed: 10 }) as const;

test('what an agent uses is told apart from what all use', () => {
  expect(usedText(agents(1234, 10_000))).toBe('1,234 of 10,000');
  expect(usedText(starts(4))).toBe('4 of 10, by the busiest agent');
  expect(usedText(starts(0))).toBe('0 of 10');
  expect(usedText(running(3))).toBe('3 of 10');
});

test('a limit of all warns before it is reached, one of an agent when it is', () => {
  expect([159, 160, 200, 250].map((used) => amountTone(agents(used)))).toEqual(['ok', 'warn', 'warn', 'warn']);
  expect([9, 10].map((used) => amountTone(starts(used)))).toEqual(['ok', 'warn']);
  expect([0, 1].map((used) => amountTone(backups(used)))).toEqual(['ok', 'ok']);
  expect(amountTone(agents(0, 0))).toBe('warn');
});

test('the sentence names what is reached', () => {
  expect(limitsSentence([agents(199), backups(1)])).toBe('Your organization is below its limits.');
  expect(limitsSentence([agents(200), starts(3)])).toBe('Your organization has reached a limit: agents.');
  expect(limitsSentence([agents(200), starts(10)])).toBe(
    'Your organization has reached limits: agents, starts an hour.',
  );
  expect(limitsSentence([running(10)])).toBe('Your organization has reached a limit: backups at the same time.');
});
