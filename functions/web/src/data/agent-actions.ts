import type { MutationOptions } from '@tanstack/react-query';
import { answered, api, unwrap } from '../api/client';
import { ApiError, isPassing } from '../api/errors';
import { keys } from '../api/keys';
import type { Agent } from '../api/operations';
import { changeIntents, landed } from './agents';
import { nameOf } from './announcer';
import { client } from './client';
import { type ActionKind, accept, begin, dismiss, refuse } from './intents';
import { type KeyedRequest, newRequest, send } from './keyed-requests';
import { toast } from './toasts';

export type Action = { readonly kind: ActionKind; readonly agent: Agent; readonly backupId?: string };
/** `jobId`: a job goes on with it. `message`: it is done, and this is what the server says about it. */
type Outcome = { readonly jobId?: string; readonly message?: string };

function idOfJob(body: unknown): string | undefined {
  const data = (body as { data?: { jobId?: unknown } } | undefined)?.data;
  return typeof data?.jobId === 'string' ? data.jobId : undefined;
}

async function start(agent: Agent, key: string): Promise<Outcome> {
  const path = { agentId: agent.id };
  const header = { 'Idempotency-Key': key };
  const resumes = agent.status === 'stopped' || agent.status === 'disconnected';
  const call = resumes
    ? api.POST('/api/v1/milady/agents/{agentId}/resume', { params: { path, header } })
    : api.POST('/api/v1/milady/agents/{agentId}/provision', { params: { path, header } });
  const { data, error, response } = await call;
  // A start that is already under way is not a refusal: its job is followed like our own.
  const running = response.status === 409 ? idOfJob(error) : undefined;
  if (running !== undefined) return { jobId: running };
  const body = (await answered(Promise.resolve({ data, error, response }))).data;
  const jobId = response.status === 202 ? idOfJob(body) : undefined;
  return jobId === undefined ? { message: `${nameOf(agent)} is running.` } : { jobId };
}

async function perform({ kind, agent, backupId }: Action, key: string): Promise<Outcome> {
  const path = { agentId: agent.id };
  const header = { 'Idempotency-Key': key };
  const name = nameOf(agent);
  switch (kind) {
    case 'start':
      return start(agent, key);
    case 'stop': {
      const body = await unwrap(api.POST('/api/v1/milady/agents/{agentId}/suspend', { params: { path, header } }));
      const jobId = idOfJob(body);
      return jobId === undefined ? { message: `${name}: ${body.data.message}` } : { jobId };
    }
    case 'save': {
      const { data } = await unwrap(api.POST('/api/v1/milady/agents/{agentId}/snapshot', { params: { path, header } }));
      return { message: `The state of ${name} is saved (${Math.ceil(data.sizeBytes / 1024)} KB).` };
    }
    case 'restore': {
      const body = backupId === undefined ? {} : { backupId };
      const answer = await answered(
        api.POST('/api/v1/milady/agents/{agentId}/restore', { params: { path, header }, body: body as never }),
      );
      const jobId = answer.response.status === 202 ? idOfJob(answer.data) : undefined;
      return jobId === undefined ? { message: `${name} runs with the restored state.` } : { jobId };
    }
    case 'delete': {
      const at = performance.now();
      try {
        const jobId = idOfJob(await unwrap(api.DELETE('/api/v1/milady/agents/{agentId}', { params: { path } })));
        if (jobId !== undefined) return { jobId };
      } catch (error) {
        // Repeating a deletion, or being second, ends where it should.
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      }
      landed.gone(agent.id, Math.max(at, performance.now()));
      return { message: `${name} is deleted.` };
    }
    default:
      return kind satisfies never;
  }
}

const options = (action: Action, request: KeyedRequest): MutationOptions<Outcome, Error, Action> => {
  const id = action.agent.id;
  return {
    mutationKey: ['agent', action.kind],
    scope: { id },
    networkMode: 'always',
    mutationFn: (asked) =>
      send(request, (key) => perform(asked, key), { doubt: { repeatable: false }, keyed: action.kind !== 'delete' }),
    retry: (failures, error) => isPassing(error) && action.kind !== 'delete' && failures < 3,
    onMutate: () => changeIntents((all) => begin(all, id, action.kind, performance.now())),
    onSuccess: ({ jobId, message }) => {
      const at = performance.now();
      changeIntents((all) => accept(all, id, at, jobId));
      if (message === undefined) return;
      landed.told(id, at);
      toast({
        tone: 'ok',
        text: message,
        ...(action.kind === 'delete' ? {} : { link: { to: `/agents/${id}`, label: 'Show' } }),
      });
    },
    onError: (error) => changeIntents((all) => refuse(all, id, error, performance.now())),
    meta: {
      touches: [
        keys.agents,
        ...(action.kind === 'delete' ? [] : [keys.agent(id), keys.agentJobs(id), keys.backups(id)]),
        keys.credit,
      ],
      // Here it is known to be gone; another tab that shows it must learn it.
      ...(action.kind === 'delete' ? { tells: [keys.agent(id)] } : {}),
    },
  };
};

/**
 * Sends an action. The row shows it at once; a refusal takes it back and leaves the server's reason in the row. Each
 * click is a request of its own: with the key of a stop whose answer was lost, the next stop, perhaps after a start,
 * would be answered with the first one, and stop nothing.
 */
export function act(action: Action): void {
  const one = client.getMutationCache().build(client, client.defaultMutationOptions(options(action, newRequest())));
  one.execute(action).catch(() => {});
}

export const dismissRefusal = (id: string): void => changeIntents((all) => dismiss(all, id));
