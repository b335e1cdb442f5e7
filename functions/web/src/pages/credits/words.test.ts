import { expect, test } from 'vitest';
import type { SchemaTransaction } from '../../api/openapi.gen';
import { arithmetic, paidLate, recipientsText, subject, sumSentence, typeWord } from './words';

const row: SchemaTransaction = {
  id: '1',
  amount: -0.02,
  type: 'usage',
  description: null,
  periodStart: '2026-11-27T13:00:00.000Z',
  periodEnd: '2026-11-27T14:00:00.000Z',
  agents: 2,
  agentId: null,
  kind: null,
  hourlyRate: null,
  seconds: null,
  balanceBefore: 1,
  balanceAfter: 0.98,
  createdAt: '2026-11-27T14:00:03.000Z',
};

test('the arithmetic of a charge can be checked by hand', () => {
  expect(arithmetic({ seconds: 724, hourlyRate: 0.02, amount: -0.004022 })).toBe(
    '724 s × $0.0200 ÷ 3,600 s = $0.004022',
  );
  expect(arithmetic({ seconds: null, hourlyRate: 0.02, amount: 1 })).toBeNull();
});

test('a sum that differs says why, and an unfinished list claims no sum', () => {
  expect(sumSentence(-0.24, 0.24, 12)).toBe('The sum of 12 lines is $0.240000: exactly what was taken.');
  expect(sumSentence(-0.24, 0.2, 10)).toContain('no longer kept');
  expect(sumSentence(-0.24, undefined, 200)).toContain('so far');
});

test('use that was paid long after it happened is late', () => {
  expect(paidLate(row)).toBe(false);
  expect(paidLate({ ...row, createdAt: '2026-11-29T09:00:00.000Z' })).toBe(true);
  expect(paidLate({ ...row, periodEnd: null })).toBe(false);
});

test('rows say what they are about, and words of other applications stay', () => {
  expect(subject(row)).toBe('2 agents');
  expect(subject({ ...row, agents: null, kind: 'idle' })).toBe('backup kept');
  expect(subject({ ...row, type: 'grant', agents: null, description: 'For the outage' })).toBe('For the outage');
  expect(typeWord('purchase')).toBe('purchase');
});

test('a notice names whom its mail was sent to, and why not to those before', () => {
  const at = '2026-11-27T12:00:00.000Z';
  const one = (address: string, state: 'bounced' | 'delivered') => ({ address, state, updatedAt: at });
  expect(recipientsText([])).toBe('-');
  expect(recipientsText([one('a***@b***.com', 'bounced'), one('c***@d***.com', 'delivered')])).toBe(
    'a***@b***.com (bounced), c***@d***.com',
  );
});
