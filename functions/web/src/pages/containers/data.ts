import { queryOptions } from '@tanstack/react-query';
import { api, unwrap } from '../../api/client';
import type { SchemaKnownAgentStatus } from '../../api/openapi.gen';
import type { ContainerRow } from '../../api/operations';
import { every } from '../../data/client';

export const STATUSES: readonly SchemaKnownAgentStatus[] = [
  'running',
  'provisioning',
  'pending',
  'stopped',
  'disconnected',
  'error',
];
export const isStatus = (text: string): text is SchemaKnownAgentStatus => STATUSES.some((status) => status === text);

const PAGE = 500;
const MOST = 2_000;

export type Rows = { readonly rows: readonly ContainerRow[]; readonly total: number; readonly cut: boolean };

/** Agents of all organizations, newest first: the first 2,000 that match. */
export const containersOptions = (status: string, nodeId: string) =>
  queryOptions({
    queryKey: ['containers', status, nodeId],
    queryFn: async ({ signal }): Promise<Rows> => {
      const rows: ContainerRow[] = [];
      let cursor: string | undefined;
      let total = 0;
      do {
        const query = {
          limit: PAGE,
          ...(isStatus(status) ? { status } : {}),
          ...(nodeId ? { nodeId } : {}),
          ...(cursor === undefined ? {} : { cursor }),
        };
        const page = await unwrap(api.GET('/api/v1/admin/docker-containers', { params: { query }, signal }));
        rows.push(...page.data.containers);
        total = page.data.total;
        cursor = page.nextCursor;
      } while (cursor !== undefined && rows.length < MOST);
      return { rows, total, cut: cursor !== undefined };
    },
    refetchInterval: every(60_000),
  });
