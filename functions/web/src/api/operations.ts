// The operations that several pages use, and short names for what they answer.
import { api, unwrap } from './client';
import type {
  SchemaAgentDetail,
  SchemaAgentSummary,
  SchemaAuditEntry,
  SchemaBillingRunEntry,
  SchemaConfig,
  SchemaContainerRow,
  SchemaCredit,
  SchemaFleetContainer,
  SchemaFleetNode,
  SchemaIncident,
  SchemaJob,
  SchemaNodeContainer,
  SchemaNodeDetail,
  SchemaNodeProbe,
  SchemaNodeProbeRequest,
  SchemaOrganization,
  SchemaSession,
} from './openapi.gen';

export type Session = SchemaSession;
export type Config = SchemaConfig;
export type Agent = SchemaAgentSummary;
export type AgentDetail = SchemaAgentDetail;
export type Credit = SchemaCredit;
export type UnpaidBackup = Credit['unpaidBackups'][number];
export type Incident = SchemaIncident;
export type FleetContainer = SchemaFleetContainer;
export type FleetNode = SchemaFleetNode;
export type ContainerRow = SchemaContainerRow;
export type NodeContainer = SchemaNodeContainer;
export type NodeDetail = SchemaNodeDetail;
export type Probe = SchemaNodeProbe;
export type RunEntry = SchemaBillingRunEntry;
export type AuditEntry = SchemaAuditEntry;
export type Organization = SchemaOrganization;
export type PageOf<R> = { readonly data: readonly R[]; readonly nextCursor?: string | undefined };

const aborting = (signal?: AbortSignal) => (signal ? { signal } : {});

export const getSession = async (signal?: AbortSignal): Promise<Session> =>
  (await unwrap(api.GET('/api/v1/session', aborting(signal)))).data;

export const getConfig = async (): Promise<Config> => (await unwrap(api.GET('/api/v1/milady/config'))).data;

export const getAgentPage = (query: { limit?: number; cursor?: string; changedSince?: string }, signal: AbortSignal) =>
  unwrap(api.GET('/api/v1/milady/agents', { params: { query }, signal }));

export const getAgentJobs = async (agentId: string): Promise<readonly SchemaJob[]> =>
  (await unwrap(api.GET('/api/v1/milady/agents/{agentId}/jobs', { params: { path: { agentId } } }))).data;

/** Leaves out filters that are not set. */
function given<F extends object>(filters: F): { [K in keyof F]?: Exclude<F[K], undefined> } {
  const set = Object.entries(filters).filter(([, value]) => value !== undefined && value !== '');
  return Object.fromEntries(set) as { [K in keyof F]?: Exclude<F[K], undefined> };
}

type Filters = Readonly<Record<string, string | undefined>>;

export const getRuns = (cursor: string | undefined, signal: AbortSignal): Promise<PageOf<RunEntry>> =>
  unwrap(api.GET('/api/v1/admin/billing/runs', { params: { query: given({ limit: 100, cursor }) }, signal }));

export const getAudit = (
  filters: Filters,
  cursor: string | undefined,
  signal: AbortSignal,
): Promise<PageOf<AuditEntry>> =>
  unwrap(
    api.GET('/api/v1/admin/audit', { params: { query: given({ limit: 100, ...filters, cursor }) }, signal }),
  ) as Promise<unknown> as Promise<PageOf<AuditEntry>>;

export const getOrganizations = (
  q: string,
  cursor: string | undefined,
  signal: AbortSignal,
): Promise<PageOf<Organization>> =>
  unwrap(api.GET('/api/v1/admin/organizations', { params: { query: given({ limit: 100, q, cursor }) }, signal }));

export type Address = SchemaNodeProbeRequest;

export const probeHost = async (body: Address): Promise<Probe> =>
  (await unwrap(api.POST('/api/v1/admin/docker-nodes/probe', { body }))).data;
