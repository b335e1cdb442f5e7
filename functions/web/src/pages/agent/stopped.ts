/** Who stopped an agent, and what follows from it, in words. Pure. */
import type { SchemaStopReason } from '../../api/openapi.gen';
import type { Agent } from '../../api/operations';

type Explained = { readonly title: string; readonly text: string };

/** What the owner did needs no words, and what billing did depends on the credit. */
const REASONS: Readonly<Record<SchemaStopReason, Explained | null>> = {
  owner: null,
  billing: null,
  limit: {
    title: 'It was stopped because it exceeded a limit.',
    text: 'The credit page shows the limits of your organization. It can be started again.',
  },
  operator: {
    title: 'An operator of this cloud stopped it.',
    text: 'It is not charged for running meanwhile. It can be started again, with the state that was saved last.',
  },
  drain: {
    title: 'It was stopped so that an operator can move or update it.',
    text: 'Its state was saved, and it starts again by itself. It is not charged for running meanwhile.',
  },
  failure: {
    title: 'It was stopped after a failure.',
    text: 'Its container or its host was lost. It can be started again, with the state that was saved last.',
  },
};

/** Null for an agent that is not stopped, and where nothing has to be said. */
export function whyStopped({ status, stopReason }: Pick<Agent, 'status' | 'stopReason'>): Explained | null {
  return status === 'stopped' && stopReason ? REASONS[stopReason] : null;
}
