import { expect, test } from 'vitest';
import type { SchemaJob, SchemaStepName } from '../api/openapi.gen';
import { phases } from './steps';

const job = (status: SchemaJob['status'], ...names: SchemaStepName[]) => ({
  status,
  steps: names.map((name, index) => ({
    name,
    status: index === names.length - 1 ? ('running' as const) : ('done' as const),
    at: '2026-11-27T12:00:00.000Z',
  })),
});
const states = (of: ReturnType<typeof job> | null) =>
  phases(of)
    .map((phase) => phase.state)
    .join(' ');

test('without a job the agent is created and nothing else', () => {
  expect(states(null)).toBe('done todo todo todo');
});
test('a job that waits is at the beginning', () => {
  expect(states(job('pending'))).toBe('active todo todo todo');
});
test('the phase of the last step is the active one', () => {
  expect(states(job('in_progress', 'credit', 'cleanup', 'database'))).toBe('done active todo todo');
  expect(states(job('in_progress', 'credit', 'database', 'place', 'pull'))).toBe('done done active todo');
});
test('a failed job shows where', () => {
  expect(states(job('failed', 'credit', 'database', 'place', 'pull'))).toBe('done done failed todo');
});
test('a completed job is done everywhere', () => {
  expect(states(job('completed', 'credit', 'running'))).toBe('done done done done');
});
