/** What operators do with hosts. */
import { api, unwrap } from '../../api/client';
import type { SchemaNodeRegisterRequest, SchemaNodeUpdateRequest } from '../../api/openapi.gen';
import { probeHost } from '../../api/operators';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { checkSentence } from './check';
import { FLEET_KEYS } from './data';

export function useCheck() {
  return useOperation(
    async (nodeId: string) =>
      (await unwrap(api.POST('/api/v1/admin/docker-nodes/{nodeId}/health-check', { params: { path: { nodeId } } })))
        .data,
    {
      repeatable: true,
      touches: FLEET_KEYS,
      onDone: (check) =>
        toast({
          tone: check.newStatus === 'healthy' ? 'ok' : check.newStatus === 'degraded' ? 'warn' : 'bad',
          text: checkSentence(check),
          link: { to: `/fleet/nodes/${encodeURIComponent(check.nodeId)}`, label: 'Show' },
        }),
      onRefused: (error, nodeId) => toast({ tone: 'bad', text: `${nodeId} was not checked. ${error.message}` }),
    },
  );
}

export const useProbe = () => useOperation(probeHost, { repeatable: true, touches: [] });

export function useRegister(done: () => void) {
  return useOperation(
    async (body: SchemaNodeRegisterRequest, key: string) =>
      (await unwrap(api.POST('/api/v1/admin/docker-nodes', { body, params: { header: { 'Idempotency-Key': key } } })))
        .data,
    {
      keyed: true,
      repeatable: true,
      touches: FLEET_KEYS,
      onDone: ({ nodeId, warning }) => {
        toast({
          tone: warning ? 'warn' : 'ok',
          text: warning ? `${nodeId} is added, but: ${warning}` : `${nodeId} is added and takes agents.`,
          link: { to: `/fleet/nodes/${encodeURIComponent(nodeId)}`, label: 'Show' },
        });
        done();
      },
    },
  );
}

type Update = { readonly nodeId: string; readonly body: SchemaNodeUpdateRequest; readonly said: string };

export function useUpdate(done: () => void) {
  return useOperation(
    async ({ nodeId, body }: Update) =>
      (await unwrap(api.PATCH('/api/v1/admin/docker-nodes/{nodeId}', { body, params: { path: { nodeId } } }))).data,
    {
      repeatable: true,
      touches: FLEET_KEYS,
      onDone: (_node, { said }) => {
        toast({ tone: 'ok', text: said });
        done();
      },
    },
  );
}

export function useRemove(done: () => void) {
  return useOperation(
    async (nodeId: string) =>
      unwrap(api.DELETE('/api/v1/admin/docker-nodes/{nodeId}', { params: { path: { nodeId } } })),
    {
      touches: [['fleet'], ['hosts'], ['containers']],
      onDone: (_answer, nodeId) => {
        toast({ tone: 'ok', text: `${nodeId} is removed from the fleet. The machine itself was not touched.` });
        done();
      },
    },
  );
}

export function useSync(done: () => void) {
  return useOperation(async (_: null) => (await unwrap(api.POST('/api/v1/admin/docker-nodes/sync'))).data, {
    repeatable: true,
    touches: FLEET_KEYS,
    onDone: ({ nodesChanged, changes }) => {
      const words = Object.entries(changes).map(([nodeId, { before, after }]) => `${nodeId} ${before} → ${after}`);
      toast({
        tone: 'ok',
        text: nodesChanged === 0 ? 'All counts of slots were right.' : `Slots recounted: ${words.join(', ')}.`,
      });
      done();
    },
  });
}

export function useDrain(done: () => void) {
  return useOperation(
    async (nodeId: string) =>
      (await unwrap(api.POST('/api/v1/admin/docker-nodes/{nodeId}/drain', { params: { path: { nodeId } } }))).data,
    {
      repeatable: true,
      touches: FLEET_KEYS,
      onDone: (_plan, nodeId) => {
        toast({
          tone: 'ok',
          text: `${nodeId} is being drained.`,
          link: { to: `/fleet/nodes/${encodeURIComponent(nodeId)}`, label: 'Show' },
        });
        done();
      },
    },
  );
}

export function useCancelDrain(done: () => void) {
  return useOperation(
    async (nodeId: string) =>
      unwrap(api.DELETE('/api/v1/admin/docker-nodes/{nodeId}/drain', { params: { path: { nodeId } } })),
    {
      touches: FLEET_KEYS,
      onDone: (_answer, nodeId) => {
        toast({ tone: 'ok', text: `${nodeId} is in service again.` });
        done();
      },
    },
  );
}

export type RollOutAction = 'start' | 'pause' | 'resume' | 'cancel';

const ROLL_OUT_SAID: Readonly<Record<RollOutAction, string>> = {
  start: 'The roll-out has begun.',
  pause: 'The roll-out is paused. Restarts that are under way go on.',
  resume: 'The roll-out goes on.',
  cancel: 'The roll-out is cancelled. Agents that are stopped for it are still started.',
};

type RollOut = { readonly action: RollOutAction; readonly digest: string };

const rollOut = ({ action, digest }: RollOut) => {
  switch (action) {
    case 'start':
      return unwrap(api.POST('/api/v1/admin/image-roll-out', { body: { digest } }));
    case 'cancel':
      return unwrap(api.DELETE('/api/v1/admin/image-roll-out'));
    default:
      return unwrap(api.PATCH('/api/v1/admin/image-roll-out', { body: { paused: action === 'pause' } }));
  }
};

export function useRollOut(done: () => void) {
  return useOperation(async (asked: RollOut) => (await rollOut(asked)).data, {
    touches: [['roll-out'], ['fleet'], ['containers']],
    onDone: (_progress, { action }) => {
      toast({ tone: 'ok', text: ROLL_OUT_SAID[action] });
      done();
    },
  });
}

export function useDeclareLost(done: () => void) {
  return useOperation(
    async (nodeId: string) =>
      (
        await unwrap(
          api.POST('/api/v1/admin/docker-nodes/{nodeId}/lost', { body: { nodeId }, params: { path: { nodeId } } }),
        )
      ).data,
    {
      touches: FLEET_KEYS,
      onDone: ({ nodeId, freedAgents }) => {
        toast({ tone: 'warn', text: `${nodeId} is declared lost. Agents freed: ${freedAgents}.` });
        done();
      },
    },
  );
}

export function useReturn(done: () => void) {
  return useOperation(
    async (nodeId: string) =>
      unwrap(api.DELETE('/api/v1/admin/docker-nodes/{nodeId}/lost', { params: { path: { nodeId } } })),
    {
      touches: FLEET_KEYS,
      onDone: (_answer, nodeId) => {
        toast({ tone: 'ok', text: `${nodeId} is back in service.` });
        done();
      },
    },
  );
}
