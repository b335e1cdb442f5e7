// The operations of operators' pages. Apart from `operations`, so that the first view does not load them.
import { api, unwrap } from './client';
import type {
  SchemaApiKeyRequest,
  SchemaMailState,
  SchemaNodeProbeRequest,
  SchemaOrganizationCreateRequest,
  SchemaOrganizationUserRequest,
} from './openapi.gen';
import type { AuditEntry, Mail, Organization, OrganizationUser, Probe, RunEntry } from './operations';

type PageOf<R> = { readonly data: readonly R[]; readonly nextCursor?: string | undefined };

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

export const addOrganization = async (body: SchemaOrganizationCreateRequest, key: string) => {
  const params = { header: { 'Idempotency-Key': key } };
  return (await unwrap(api.POST('/api/v1/admin/organizations', { body, params }))).data;
};

export const getUsers = (
  organizationId: string,
  cursor: string | undefined,
  signal: AbortSignal,
): Promise<PageOf<OrganizationUser>> => {
  const params = { path: { organizationId }, query: given({ limit: 100, cursor }) };
  return unwrap(api.GET('/api/v1/admin/organizations/{organizationId}/users', { params, signal }));
};

export const addUser = async (organizationId: string, body: SchemaOrganizationUserRequest, key: string) => {
  const params = { path: { organizationId }, header: { 'Idempotency-Key': key } };
  return (await unwrap(api.POST('/api/v1/admin/organizations/{organizationId}/users', { body, params }))).data;
};

export const makeKey = async (organizationId: string, body: SchemaApiKeyRequest) => {
  const params = { path: { organizationId } };
  return (await unwrap(api.POST('/api/v1/admin/organizations/{organizationId}/api-keys', { body, params }))).data;
};

export const revokeKey = (organizationId: string, keyId: string) => {
  const params = { path: { organizationId, keyId } };
  return unwrap(api.DELETE('/api/v1/admin/organizations/{organizationId}/api-keys/{keyId}', { params }));
};

export const getMails = (
  state: SchemaMailState | undefined,
  cursor: string | undefined,
  signal: AbortSignal,
): Promise<PageOf<Mail>> =>
  unwrap(api.GET('/api/v1/admin/mails', { params: { query: given({ limit: 100, state, cursor }) }, signal }));

export const retryMail = async (mailId: string): Promise<Mail> =>
  (await unwrap(api.POST('/api/v1/admin/mails/{mailId}/retry', { params: { path: { mailId } } }))).data;

export type Address = SchemaNodeProbeRequest;

export const probeHost = async (body: Address): Promise<Probe> =>
  (await unwrap(api.POST('/api/v1/admin/docker-nodes/probe', { body }))).data;
