/** What operators do with containers. */
import { api, unwrap } from '../../api/client';
import type {
  SchemaAgentBillingRequest,
  SchemaContainerActed,
  SchemaContainerAction,
  SchemaSuspendAgentRequest,
} from '../../api/openapi.gen';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { unitPrice } from '../../ui/format';
import { FLEET_KEYS } from '../fleet/data';
import type { Acting } from './plan';
import type { ContainerView } from './view';

export async function perform(
  action: SchemaContainerAction,
  view: ContainerView,
  key: string,
  part: { readonly lines?: number; readonly since?: string } = {},
): Promise<SchemaContainerActed> {
  const body = {
    action,
    nodeId: view.nodeId ?? '',
    containerName: view.containerName ?? '',
    ...(view.dockerId === null ? {} : { containerId: view.dockerId }),
    ...part,
  };
  const header = { 'Idempotency-Key': key };
  return (await unwrap(api.POST('/api/v1/admin/infrastructure/containers/actions', { body, params: { header } }))).data;
}

const DONE: Readonly<Record<Acting, string>> = {
  restart: 'is restarted',
  stop: 'is stopped',
  start: 'is started',
  'pull-image': 'has its image pulled',
  'remove-ghost': 'is removed',
};

export function useAction(view: ContainerView, done: () => void) {
  return useOperation((action: Acting, key) => perform(action, view, key), {
    keyed: true,
    repeatable: true,
    touches: FLEET_KEYS,
    onDone: (_acted, action) => {
      toast({ tone: 'ok', text: `${view.containerName} on ${view.nodeId} ${DONE[action]}.` });
      done();
    },
  });
}

export function useMove(view: ContainerView, done: () => void) {
  return useOperation(
    async (_: null) =>
      (
        await unwrap(
          api.POST('/api/v1/admin/agents/{agentId}/move', { params: { path: { agentId: view.agentId ?? '' } } }),
        )
      ).data,
    {
      touches: FLEET_KEYS,
      onDone: ({ fromNode }) => {
        toast({ tone: 'ok', text: `${view.name} leaves ${fromNode}.` });
        done();
      },
    },
  );
}

export function useSuspension(view: ContainerView, done: () => void) {
  return useOperation(
    async (body: SchemaSuspendAgentRequest, key) =>
      (
        await unwrap(
          api.POST('/api/v1/admin/agents/{agentId}/suspend', {
            body,
            params: { path: { agentId: view.agentId ?? '' }, header: { 'Idempotency-Key': key } },
          }),
        )
      ).data,
    {
      keyed: true,
      repeatable: true,
      touches: FLEET_KEYS,
      onDone: ({ jobId }) => {
        toast({
          tone: 'ok',
          text: jobId === null ? `${view.name} is stopped.` : `${view.name} stops as soon as its host answers.`,
        });
        done();
      },
    },
  );
}

export function useAgentBilling(view: ContainerView, done: () => void) {
  return useOperation(
    async (body: SchemaAgentBillingRequest) =>
      (
        await unwrap(
          api.PATCH('/api/v1/admin/agents/{agentId}/billing', {
            body,
            params: { path: { agentId: view.agentId ?? '' } },
          }),
        )
      ).data,
    {
      repeatable: true,
      touches: [['agents'], ['credit']],
      onDone: ({ billingStatus, hourlyRate }) => {
        const rate = hourlyRate === null ? 'the list price' : `${unitPrice(hourlyRate)} an hour`;
        toast({
          tone: 'ok',
          text:
            billingStatus === 'exempt' ? `${view.name} is not charged any more.` : `${view.name} is charged ${rate}.`,
        });
        done();
      },
    },
  );
}
