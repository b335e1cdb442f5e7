import { expect, test } from 'vitest';
import { ApiError } from '../../api/errors';
import type { Settings } from '../../api/operations';
import { changesOf, fieldError, formOf, markIn, unsaved } from './form';
import { defaultMark, settingsSentence, testSentence, webhookState, zones } from './words';

const settings = (change: Partial<Settings> = {}): Settings => ({
  lowCreditMark: 20,
  billingEmail: 'billing@example.com',
  timeZone: 'Europe/Berlin',
  automaticResume: true,
  undeliverableSince: null,
  webhook: null,
  slack: null,
  ...change,
});

test.each([
  ['', null],
  ['  ', null],
  ['0', 0],
  [' 20.50 ', 20.5],
  ['0.000001', 0.000001],
  ['1000000', 1_000_000],
  ['1000000.01', undefined],
  ['0.0000001', undefined],
  ['-1', undefined],
  ['1e3', undefined],
  ['20,5', undefined],
  ['$20', undefined],
])('the mark %j', (text, mark) => {
  expect(markIn(text)).toBe(mark);
});

test('only what differs is sent, and what is emptied is removed', () => {
  const form = formOf(settings());
  expect(changesOf(settings(), form)).toEqual({});
  expect(changesOf(settings(), { ...form, lowCreditMark: '20.00', billingEmail: ' billing@example.com ' })).toEqual({});
  expect(changesOf(settings(), { ...form, lowCreditMark: '', billingEmail: ' ' })).toEqual({
    lowCreditMark: null,
    billingEmail: null,
  });
  expect(changesOf(settings(), { ...form, timeZone: 'UTC', automaticResume: false })).toEqual({
    timeZone: 'UTC',
    automaticResume: false,
  });
  expect(changesOf(settings(), { ...form, lowCreditMark: 'much', timeZone: 'UTC' })).toBeNull();
});

test('every mark survives the form', () => {
  for (const lowCreditMark of [null, 0, 0.000001, 12.345678, 1_000_000])
    expect(changesOf(settings({ lowCreditMark }), formOf(settings({ lowCreditMark })))).toEqual({});
});

test('what was typed while something else was saved stays', () => {
  const drafts = { lowCreditMark: '30', timeZone: 'Europe/Paris' };
  expect(unsaved(drafts, settings({ lowCreditMark: 30 }))).toEqual({ timeZone: 'Europe/Paris' });
  expect(unsaved({ lowCreditMark: '30.0' }, settings({ lowCreditMark: 30 }))).toEqual({});
  expect(unsaved({ lowCreditMark: '30x' }, settings())).toEqual({ lowCreditMark: '30x' });
});

test('a refusal belongs to its field', () => {
  const fields = [{ field: 'billingEmail', message: 'must be a mail address' }];
  const error = new ApiError({ kind: 'http', status: 400, message: 'Invalid', fields });
  expect(fieldError(error, 'billingEmail')).toBe('It must be a mail address.');
  expect(fieldError(error, 'timeZone')).toBeNull();
  expect(fieldError(null, 'billingEmail')).toBeNull();
});

test('the default mark is spelled out, and its amount named once it is known', () => {
  const rule = 'Empty is the default: $2.00, or what your agents cost in 72 hours if that is more.';
  expect(defaultMark(2, 0.14)).toBe(`${rule} At present that is $10.08.`);
  expect(defaultMark(2, 0)).toBe(`${rule} At present that is $2.00.`);
  expect(defaultMark(2, undefined)).toBe(rule);
  expect(defaultMark(undefined, 0.14)).toContain('the amount of the price list');
});

test('the sentence says when, where to and in which zone, without an address', () => {
  expect(settingsSentence(settings())).toBe(
    'Owners are warned when the balance falls below $20.00. Mails go to the billing address first, with times in UTC and Europe/Berlin.',
  );
  expect(settingsSentence(settings({ lowCreditMark: null, billingEmail: null, timeZone: 'UTC' }))).toBe(
    'Owners are warned when the balance falls below the default mark. Mails go to the address for invoices, or else to the owners, with times in UTC.',
  );
});

test('time zones are places and UTC, each once, and what is set stays to be chosen', () => {
  const known = ['Europe/Paris', 'Etc/GMT+1', 'CET', 'UTC', 'Asia/Tokyo'];
  expect(zones(known, 'UTC')).toEqual(['UTC', 'Asia/Tokyo', 'Europe/Paris']);
  expect(zones(known, 'Asia/Tokyo')).toEqual(['UTC', 'Asia/Tokyo', 'Europe/Paris']);
  expect(zones(known, 'Europe/Kyiv')).toEqual(['UTC', 'Asia/Tokyo', 'Europe/Kyiv', 'Europe/Paris']);
});

test('a webhook says whether it works, why not, and what switches it on', () => {
  const now = Date.parse('2026-03-03T12:00:00Z');
  const works = { url: 'https://a.example/…', failingSince: null, reason: null, switchedOffAt: null };
  expect(webhookState(works, now)).toEqual({ tone: 'ok', text: 'Events are sent there.' });
  const failing = { ...works, failingSince: '2026-03-03T11:00:00.000Z', reason: 'the receiver answered with HTTP 500' };
  expect(webhookState(failing, now)).toMatchObject({ tone: 'warn' });
  expect(webhookState(failing, now).text).toContain('the receiver answered with HTTP 500');
  const off = webhookState({ ...failing, switchedOffAt: '2026-03-03T11:30:00.000Z' }, now);
  expect(off.tone).toBe('bad');
  expect(off.text).toContain('A test that succeeds switches it on.');
});

test('a test tells the status, or why there is none', () => {
  expect(testSentence({ delivered: true, status: 204, reason: null })).toBe('The receiver took the test: HTTP 204.');
  expect(testSentence({ delivered: false, status: null, reason: 'the receiver could not be reached' })).toBe(
    'Not delivered: the receiver could not be reached.',
  );
});
