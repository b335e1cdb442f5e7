import { api, unwrap } from '../../api/client';
import type { SchemaAgentCreateRequest } from '../../api/openapi.gen';
import type { Agent } from '../../api/operations';
import { landed } from '../../data/agents';

/** Creates the row. The caller starts the agent with `act`. */
export async function createAgent(body: SchemaAgentCreateRequest, key: string): Promise<Agent> {
  const at = performance.now();
  const { data } = await unwrap(
    api.POST('/api/v1/milady/agents', { body, params: { header: { 'Idempotency-Key': key } } }),
  );
  const agent: Agent = {
    ...data,
    billingStatus: 'active',
    containerKind: body.dockerImage ? 'custom' : 'managed',
    databaseStatus: 'none',
    dockerImage: body.dockerImage ?? null,
    errorMessage: null,
    hourlyRate: 0,
    lastBackupAt: null,
    lastHeartbeatAt: null,
    pendingAction: null,
    pendingJobId: null,
    scheduledShutdownAt: null,
    silentSince: null,
    stopReason: null,
    token_address: null,
    token_chain: null,
    token_name: null,
    token_ticker: null,
    totalBilled: 0,
    updatedAt: data.createdAt,
  };
  landed.created(agent, at);
  return agent;
}
