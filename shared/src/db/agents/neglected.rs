//! Neglected agents: no job works on them although one should. Owns: finding them for the sweep, and ending starts
//! whose job is gone.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::agent::{AgentStatus, StopReason};
use crate::domain::ids::{AgentId, OrganizationId, UserId};
use crate::domain::job::JobKind;

/// Locks the agents that may be neglected: agents that are being started, and agents in error that name a container,
/// both if they have not changed since `before`; and agents that billing suspended and that are not stopped. Skips
/// agents that another transaction holds, because that transaction may be about to change what is decided here. The
/// next sweep finds them.
pub async fn neglected_agents_lock_of_any_organization(
    conn: &mut Connection,
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<AgentId>> {
    sql!(query_scalar!(
        "SELECT id FROM public.milady_sandboxes
        WHERE (status = 'provisioning' AND updated_at < $1)
            OR (billing_status = 'suspended' AND status <> 'stopped')
            OR (status = 'error' AND "
            + NAMES_CONTAINER
            + " AND updated_at < $1)
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        before
    ))
    .fetch_all(conn)
    .await
}

#[derive(Clone, Debug)]
pub struct NeglectedAgent {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub agent_id: AgentId,
    pub name: Option<String>,
    /// Whether there is, or may be, a container to stop.
    pub expects_container: bool,
    /// Whether the agent is to be stopped for debt. Otherwise only what a failed start left is to be removed.
    pub suspended: bool,
}

/// Those of these agents that have no active job and should have no container: suspended agents and failed ones.
pub async fn agents_to_stop_of_any_organization(
    conn: &mut Connection,
    ids: &[AgentId],
) -> sqlx::Result<Vec<NeglectedAgent>> {
    let rows = sql!(query!(
        "SELECT a.id, a.organization_id, a.user_id, a.agent_name, a.status, "
            + NAMES_CONTAINER
            + r#" AS "names_container!", a.billing_status = 'suspended' AS "suspended!"
        FROM public.milady_sandboxes a
        WHERE a.id = ANY($1) AND (a.billing_status = 'suspended' OR a.status = 'error')
            AND NOT EXISTS (
            SELECT FROM public.jobs j
            WHERE j.organization_id = a.organization_id AND j.status IN "#
            + ACTIVE_STATUSES
            + " AND j.type = ANY($2) AND j.type"
            + HAS_KIND_PREFIX
            + " AND "
            + JOB_IS_FOR_AGENT
            + ")",
        ids as &[AgentId],
        &JobKind::names() as &[&str]
    ))
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| NeglectedAgent {
        organization_id: row.organization_id,
        user_id: row.user_id,
        agent_id: row.id,
        name: row.agent_name,
        expects_container: AgentStatus::parse_or_unknown(&row.status)
            .expects_container(row.names_container),
        suspended: row.suspended,
    });
    Ok(agents.collect())
}

/// Ends the starts among these agents that no active job works on: `provisioning` becomes `error` (F13). Returns how
/// many.
pub async fn neglected_starts_end_of_any_organization(
    conn: &mut Connection,
    ids: &[AgentId],
    error: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sql!(query!(
        "UPDATE public.milady_sandboxes a SET status = 'error', error_message = $2,
            error_count = error_count + 1, updated_at = $3, stop_reason = coalesce(stop_reason, $5)
        WHERE a.id = ANY($1) AND a.status = 'provisioning' AND NOT EXISTS (
            SELECT FROM public.jobs j
            WHERE j.organization_id = a.organization_id AND j.status IN "
            + ACTIVE_STATUSES
            + " AND j.type = ANY($4) AND j.type"
            + HAS_KIND_PREFIX
            + " AND "
            + JOB_IS_FOR_AGENT
            + ")",
        ids as &[AgentId],
        error,
        now,
        &JobKind::names() as &[&str],
        StopReason::Failure.as_str()
    ))
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Records why these agents are stopped. Those that have a reason keep it.
pub async fn stop_reasons_fill_of_any_organization(
    conn: &mut Connection,
    ids: &[AgentId],
    reason: StopReason,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET stop_reason = $2 WHERE id = ANY($1) AND stop_reason IS NULL",
        ids as &[AgentId],
        reason.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}
