import { expect, test } from 'vitest';
import type { Organization } from '../../api/operations';
import { amountOf, effects, organizationsSentence } from './effects';

const acme: Organization = {
  id: 'o',
  name: 'Acme',
  balance: 12.4,
  owed: 0,
  agents: 3,
  active: true,
  createdAt: '2026-11-01T00:00:00.000Z',
};

test('only amounts that the API takes are sent', () => {
  expect(['25', '$25', '0.000001', '1000000', '0', '-5', '1000001', '1.0000001', '1e3', ''].map(amountOf)).toEqual([
    25,
    25,
    0.000001,
    1_000_000,
    null,
    null,
    null,
    null,
    null,
    null,
  ]);
});

test('a grant says what the balance becomes, exactly', () => {
  expect(effects('grant', acme, 25)[0]).toBe(
    '$25.00 is added to the credit of Acme: the balance goes from $12.40 to $37.40.',
  );
  expect(effects('grant', { ...acme, balance: 0.1, owed: 3.2 }, 0.2).slice(0, 2)).toEqual([
    '$0.20 is added to the credit of Acme: the balance goes from $0.10 to $0.30.',
    '$3.20 that is owed is paid from it at the next full hour, the oldest first.',
  ]);
  expect(effects('grant', acme, 0.000001)[0]).toContain('to $12.400001');
});

test('a refund beyond the balance says what becomes debt', () => {
  const [taken, debt] = effects('refund', acme, 25);
  expect(taken).toBe('$12.40 is taken from the credit of Acme: the balance goes from $12.40 to $0.00.');
  expect(debt).toContain('$12.60 becomes debt');
  expect(effects('refund', acme, 2)[1]).toBe('No debt comes of it.');
  expect(effects('refund', { ...acme, balance: null }, 2)[1]).toContain('What exceeds it becomes debt');
});

test('a write-off says what is owed and that it is final', () => {
  expect(effects('write-off', { ...acme, owed: 3.2 }, null)[0]).toContain('$3.20 by the last count');
  expect(effects('write-off', acme, null)[2]).toBe('This cannot be undone.');
});

test('the sentence counts who owes', () => {
  expect(organizationsSentence([acme], false, false)).toBe('1 organization; none owes anything.');
  expect(organizationsSentence([acme, { ...acme, owed: 1 }], true, false)).toBe(
    'The newest 2 organizations; 1 owes something.',
  );
  expect(organizationsSentence([], false, true)).toBe('No organization has this name or id.');
});
