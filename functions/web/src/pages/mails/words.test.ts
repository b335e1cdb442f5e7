import { expect, test } from 'vitest';
import type { Mail } from '../../api/operations';
import { isMailState, KNOWN_STATES, mailsSentence, retryDenial, retryEffects, stateWords, templateWord } from './words';

const NOW = Date.parse('2026-11-27T14:00:00.000Z');
const mail = (change: Partial<Mail> = {}): Mail => ({
  id: '55555555-6666-4777-8888-999999999999',
  organizationId: '957d3aa7-ea5e-4277-b2d1-4393b3708232',
  template: 'agent.shutdown_scheduled',
  recipient: 'o***@e***.com',
  state: 'failed',
  attempts: 3,
  dueAt: null,
  reason: 'SES answered 400 MessageRejected',
  createdAt: '2026-11-27T12:00:00.000Z',
  updatedAt: '2026-11-27T12:20:00.000Z',
  ...change,
});

test('a mail is sent again only if nothing is under way and nobody has it for certain', () => {
  const allowed = KNOWN_STATES.filter((state) => retryDenial({ state, dueAt: null }) === null);
  expect(allowed).toEqual(['bounced', 'complained', 'unknown', 'failed', 'undeliverable']);
  expect(retryDenial({ state: 'unknown', dueAt: '2026-11-27T14:10:00.000Z' })).toBe('It is under way');
  expect(retryDenial({ state: 'handed_over', dueAt: null })).toBe('The mail provider has it');
});

test('what sending again does depends on whom it reached', () => {
  const first = (change: Partial<Mail>) => retryEffects(mail(change), NOW).join(' ');
  expect(first({})).toContain('It is sent to o***@e***.com within a minute.');
  expect(first({})).toContain('what it says may be out of date');
  expect(first({ state: 'unknown' })).toContain('a second time');
  expect(first({ state: 'complained' })).toContain('called it spam');
  const nobody = first({ state: 'undeliverable', recipient: null });
  expect(nobody).toContain('The addresses of the organization are looked at again.');
  expect(nobody).not.toContain('null');
});

test('the sentence counts what did not arrive, the worst first', () => {
  expect(mailsSentence([mail({ state: 'delivered' })], false)).toBe('The last 1 mail to owners; none of them failed.');
  expect(
    mailsSentence([mail(), mail({ state: 'delivered' }), mail({ state: 'undeliverable', recipient: null })], false),
  ).toBe('The last 3 mails to owners: 1 reached nobody, 1 failed.');
  expect(mailsSentence([], true)).toBe('No mail is in this state.');
  expect(mailsSentence([], false)).toBe('No mail was sent in the last 90 days.');
});

test('states and templates have words', () => {
  expect(templateWord('credit.low')).toBe('Low credit');
  expect(stateWords('bounced')).toMatchObject({ tone: 'bad', word: 'Bounced' });
  expect(isMailState('bounced')).toBe(true);
  expect(isMailState('toString')).toBe(false);
});
