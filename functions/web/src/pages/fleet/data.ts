import { queryOptions } from '@tanstack/react-query';
import { api, unwrap } from '../../api/client';
import type { SchemaFleetSummary, SchemaNode } from '../../api/openapi.gen';
import type { FleetContainer, FleetNode, ImageRollOut, Incident, NodeDetail, NodeDrain } from '../../api/operations';
import { every } from '../../data/client';

export type Fleet = {
  readonly refreshedAt: string;
  readonly stale: boolean;
  readonly summary: SchemaFleetSummary;
  readonly incidents: readonly Incident[];
  readonly nodes: readonly FleetNode[];
  readonly containers: readonly FleetContainer[];
};

/** The last inspection, in as many answers as it takes. With `nodeId`: one host of it. */
async function readFleet(signal: AbortSignal, nodeId?: string): Promise<Fleet> {
  let fleet = null as Fleet | null;
  let cursor: string | undefined;
  do {
    const query = { ...(nodeId === undefined ? {} : { nodeId }), ...(cursor === undefined ? {} : { cursor }) };
    const { data } = await unwrap(api.GET('/api/v1/admin/infrastructure', { params: { query }, signal }));
    const { refreshedAt, stale, summary, incidents, nodes = [], containers = [] } = data;
    fleet = {
      refreshedAt,
      stale,
      summary,
      incidents: fleet?.incidents ?? incidents,
      nodes: [...(fleet?.nodes ?? []), ...nodes],
      containers: [...(fleet?.containers ?? []), ...containers],
    };
    cursor = data.cursor;
  } while (cursor !== undefined);
  return fleet;
}

export const fleetOptions = queryOptions({
  queryKey: ['fleet'],
  queryFn: ({ signal }) => readFleet(signal),
  refetchInterval: every(30_000),
});

export const hostFleetOptions = (nodeId: string) =>
  queryOptions({
    queryKey: ['fleet', nodeId],
    queryFn: ({ signal }) => readFleet(signal, nodeId),
    refetchInterval: every(30_000),
  });

export const hostsOptions = queryOptions({
  queryKey: ['hosts'],
  queryFn: async ({ signal }) => {
    const hosts: SchemaNode[] = [];
    let cursor: string | undefined;
    do {
      const query = cursor === undefined ? {} : { cursor };
      const page = await unwrap(api.GET('/api/v1/admin/docker-nodes', { params: { query }, signal }));
      hosts.push(...page.data.nodes);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return hosts;
  },
  refetchInterval: every(60_000),
});

export const hostOptions = (nodeId: string) =>
  queryOptions({
    queryKey: ['host', nodeId],
    queryFn: async ({ signal }): Promise<NodeDetail> =>
      (await unwrap(api.GET('/api/v1/admin/docker-nodes/{nodeId}', { params: { path: { nodeId } }, signal }))).data,
    refetchInterval: every(60_000),
  });

/** The plan of a host's drain; its progress once it has begun. */
export const drainOptions = (nodeId: string) =>
  queryOptions({
    queryKey: ['drain', nodeId],
    queryFn: async ({ signal }): Promise<NodeDrain> =>
      (await unwrap(api.GET('/api/v1/admin/docker-nodes/{nodeId}/drain', { params: { path: { nodeId } }, signal })))
        .data,
    refetchInterval: every(10_000),
  });

/** Which version of the default image can be rolled out, and how far the last roll-out is. */
export const rollOutOptions = queryOptions({
  queryKey: ['roll-out'],
  queryFn: async ({ signal }): Promise<ImageRollOut> =>
    (await unwrap(api.GET('/api/v1/admin/image-roll-out', { signal }))).data,
  refetchInterval: every(10_000),
});

/** Everything that an action on hosts or containers may change. */
export const FLEET_KEYS = [['fleet'], ['hosts'], ['host'], ['drain'], ['containers']] as const;
