//! `jobs`, as far as the rows are ours (`milady_*`). Owns: enqueueing. A partial unique index keeps
//! it to one start and one stop job per agent.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::credit_gate::Clearance;

/// A stop job for an agent that billing suspends.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Who pays.
    pub organization_id: Uuid,
    /// Whose agent it is.
    pub user_id: Uuid,
    /// What is to be stopped.
    pub agent_id: Uuid,
    /// Its name.
    pub agent_name: Option<String>,
}

/// Enqueues one `milady_suspend` job per agent, unless a stop job is under way for it.
///
/// # Errors
/// Database errors.
pub async fn stops_enqueue(
    conn: &mut PgConnection,
    stops: &[Stop],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let organization_ids: Vec<Uuid> = stops.iter().map(|stop| stop.organization_id).collect();
    let user_ids: Vec<Uuid> = stops.iter().map(|stop| stop.user_id).collect();
    let agent_ids: Vec<Uuid> = stops.iter().map(|stop| stop.agent_id).collect();
    let data: Vec<Value> = stops
        .iter()
        .map(|stop| {
            serde_json::json!({
                "agentId": stop.agent_id, "organizationId": stop.organization_id,
                "userId": stop.user_id, "agentName": stop.agent_name, "reason": "billing",
            })
        })
        .collect();
    sqlx::query!(
        "INSERT INTO jobs (type, organization_id, user_id, agent_id, data, scheduled_for,
            created_at, updated_at)
        SELECT 'milady_suspend', s.organization_id, s.user_id, s.agent_id, s.data, $5, $5, $5
        FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::jsonb[])
            AS s (organization_id, user_id, agent_id, data)
        ON CONFLICT (agent_id) WHERE agent_id IS NOT NULL AND status IN ('pending', 'in_progress')
            AND type IN ('milady_suspend', 'milady_delete') DO NOTHING",
        &organization_ids,
        &user_ids,
        &agent_ids,
        &data,
        now.naive_utc()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Enqueues the job that provisions an agent. Takes the gate's clearance: there is no other way to
/// start compute. Answers none if a start job is under way for it.
///
/// # Errors
/// Database errors.
pub async fn provision_enqueue(
    conn: &mut PgConnection,
    clearance: Clearance,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Uuid>> {
    let (organization_id, agent_id) = (clearance.organization_id(), clearance.agent_id());
    let data = serde_json::json!({
        "agentId": agent_id, "organizationId": organization_id, "userId": user_id,
    });
    sqlx::query_scalar!(
        "INSERT INTO jobs (type, organization_id, user_id, agent_id, data, scheduled_for,
            created_at, updated_at)
        VALUES ('milady_provision', $1, $2, $3, $4, $5, $5, $5)
        ON CONFLICT (agent_id) WHERE agent_id IS NOT NULL AND status IN ('pending', 'in_progress')
            AND type IN ('milady_provision', 'milady_restore') DO NOTHING
        RETURNING id",
        organization_id,
        user_id,
        agent_id,
        data,
        now.naive_utc()
    )
    .fetch_optional(conn)
    .await
}
