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
  SchemaImageRollOut,
  SchemaIncident,
  SchemaMail,
  SchemaNodeContainer,
  SchemaNodeDetail,
  SchemaNodeDrain,
  SchemaNodeProbe,
  SchemaOrganization,
  SchemaOrganizationApiKey,
  SchemaOrganizationSettings,
  SchemaOrganizationUser,
  SchemaOrganizationWebhook,
  SchemaSession,
  SchemaWebhookKind,
  SchemaWebhookTest,
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
export type NodeDrain = SchemaNodeDrain;
export type ImageRollOut = SchemaImageRollOut;
export type Probe = SchemaNodeProbe;
export type RunEntry = SchemaBillingRunEntry;
export type AuditEntry = SchemaAuditEntry;
export type Organization = SchemaOrganization;
export type OrganizationUser = SchemaOrganizationUser;
export type OrganizationApiKey = SchemaOrganizationApiKey;
export type Settings = SchemaOrganizationSettings;
export type OrganizationWebhook = SchemaOrganizationWebhook;
export type WebhookKind = SchemaWebhookKind;
export type WebhookTest = SchemaWebhookTest;
export type Mail = SchemaMail;

const aborting = (signal?: AbortSignal) => (signal ? { signal } : {});

export const getSession = async (signal?: AbortSignal): Promise<Session> =>
  (await unwrap(api.GET('/api/v1/session', aborting(signal)))).data;

export const getConfig = async (): Promise<Config> => (await unwrap(api.GET('/api/v1/milady/config'))).data;

export const getAgentPage = (query: { limit?: number; cursor?: string; changedSince?: string }, signal: AbortSignal) =>
  unwrap(api.GET('/api/v1/milady/agents', { params: { query }, signal }));
