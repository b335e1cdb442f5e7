import { expect, test } from 'vitest';
import type { AuditEntry } from '../../api/operations';
import { actionWord, actorName, auditSentence, entryState, subjectPath } from './entries';

const now = Date.parse('2026-11-27T14:00:00.000Z');
const entry = (change: Partial<AuditEntry> = {}): AuditEntry => ({
  id: '1',
  actorId: '11111111-2222-4333-8444-555555555555',
  actorName: 'Ada',
  action: 'container.restart',
  subject: 'eu-1/milady-1',
  details: {},
  result: 'ok',
  at: '2026-11-27T12:00:00.000Z',
  ...change,
});

test('what began long ago and never ended stands out, what is young is under way', () => {
  expect(entryState(entry({ result: 'begun' }), now)).toMatchObject({ tone: 'unknown', open: true });
  expect(entryState(entry({ result: 'begun', at: '2026-11-27T13:55:00.000Z' }), now).tone).toBe('busy');
  expect(entryState(entry({ result: 'refused' }), now).tone).toBe('warn');
  expect(entryState(entry({ result: 'granted' }), now).word).toBe('Granted');
});

test('the sentence counts what is wrong', () => {
  expect(auditSentence([entry(), entry({ result: 'begun' })], now, false)).toContain('1 action began and never ended');
  expect(auditSentence([entry()], now, false)).toBe('The last 1 action of operators; all of them ended.');
  expect(auditSentence([], now, true)).toBe('No entry fits these filters.');
});

test('unknown words stay, deleted users have an identifier', () => {
  expect(actionWord('moon.land')).toBe('moon.land');
  expect(actionWord('mail.retry')).toBe('Had a mail sent again');
  expect(actorName(entry({ actorName: null }))).toBe('user 11111111');
  const itself = { actorName: null, actorId: '00000000-0000-0000-0000-000000000000' };
  expect(actorName(entry(itself))).toBe('the control plane');
});

test('subjects lead to where they can be seen', () => {
  expect(subjectPath(entry())).toBe('/containers?node=eu-1&q=milady-1');
  expect(subjectPath(entry({ action: 'node.update', subject: 'eu-1' }))).toBe('/fleet/nodes/eu-1');
  expect(subjectPath(entry({ action: 'node.remove', subject: 'eu-1' }))).toBeNull();
  expect(subjectPath(entry({ action: 'credit.grant', subject: 'o' }))).toBe('/organizations?q=o');
  for (const action of ['organization.limits', 'organization.create', 'user.create', 'api_key.revoke'])
    expect(subjectPath(entry({ action, subject: 'o' }))).toBe('/organizations?q=o');
});
