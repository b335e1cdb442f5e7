//! The life of one agent in `milady_sandboxes`. Owns: the agent's lock, its status, and its end. Does not own: which
//! status may follow which (`domain::agent`).

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::agent::{AgentStatus, BillingStatus, StopCause, StopReason};
use crate::domain::credit_gate::Clearance;
use crate::domain::ids::{AgentRef, UserId};

/// What requests and jobs decide on, read under the agent's lock.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is another fact about the row"
)]
pub struct LockedAgent {
    pub user_id: UserId,
    pub name: Option<String>,
    pub status: AgentStatus,
    /// `None` for a word that this version does not know.
    pub billing: Option<BillingStatus>,
    /// Whether the row names a container on a host.
    pub names_container: bool,
    /// Whether the agent may have a container, a volume or a database.
    pub needs_cleanup: bool,
    pub stop_requested: bool,
    /// `None` also for a word that this version does not know.
    pub stop_reason: Option<StopReason>,
    /// Whether the agent has a key, which a paired browser is given.
    pub has_api_token: bool,
}

/// Locks an agent. A transaction that needs both locks takes `organizations_lock` first.
pub async fn agent_lock(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<LockedAgent>> {
    let row = sql!(query!(
        "SELECT user_id, agent_name, status, billing_status, "
            + NAMES_CONTAINER
            + r#" AS "names_container!",
            coalesce(node_id, container_name, database_uri, neon_project_id) IS NOT NULL
                OR database_status <> 'none' OR coalesce(cardinality(former_nodes), 0) > 0
                OR EXISTS (SELECT FROM cloud.agent_databases d WHERE d.agent_id = milady_sandboxes.id)
                AS "needs_cleanup!",
            stop_requested_at IS NOT NULL AS "stop_requested!", stop_reason,
            environment_vars ->> 'MILADY_API_TOKEN' IS NOT NULL AS "has_api_token!"
        FROM public.milady_sandboxes WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    ))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| LockedAgent {
        user_id: row.user_id,
        name: row.agent_name,
        status: AgentStatus::parse_or_unknown(&row.status),
        billing: BillingStatus::parse(&row.billing_status),
        names_container: row.names_container,
        needs_cleanup: row.needs_cleanup,
        stop_requested: row.stop_requested,
        stop_reason: row.stop_reason.as_deref().and_then(StopReason::parse),
        has_api_token: row.has_api_token,
    }))
}

/// Locks an agent; `None` also if another transaction holds it. For work on many agents, none of which may keep the others
/// waiting.
pub async fn agent_lock_unless_held(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<LockedAgent>> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM public.milady_sandboxes WHERE organization_id = $1 AND id = $2
        FOR NO KEY UPDATE SKIP LOCKED",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(&mut *conn)
    .await?;
    match id {
        Some(_) => agent_lock(conn, agent).await,
        None => Ok(None),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusChange {
    pub from: AgentStatus,
    pub to: AgentStatus,
}

/// Changes an agent's status. `error` replaces the agent's last error, `None` clears it. A start clears the reason of
/// the last stop. An agent in error stands still because of the failure, unless another reason is recorded. Returns
/// `false` if the agent is no longer in the status that the change starts from.
pub async fn agent_change_status(
    conn: &mut Connection,
    agent: AgentRef,
    change: StatusChange,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.milady_sandboxes SET status = $4, error_message = $5,
            error_count = error_count + ($5::text IS NOT NULL)::int, updated_at = $6,
            stop_reason = CASE $4 WHEN 'provisioning' THEN NULL
                WHEN 'error' THEN coalesce(stop_reason, $7) ELSE stop_reason END,
            stop_note = CASE WHEN $4 <> 'provisioning' THEN stop_note END
        WHERE organization_id = $1 AND id = $2 AND status = $3",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        change.from.as_str(),
        change.to.as_str(),
        error,
        now,
        StopReason::Failure.as_str()
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Accepts a stop. From now on the owner is not charged for running.
pub async fn agent_request_stop(
    conn: &mut Connection,
    agent: AgentRef,
    cause: StopCause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET stop_requested_at = coalesce(stop_requested_at, $3),
            stop_reason = $4, stop_note = $5, updated_at = $3
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        now,
        cause.reason.as_str(),
        cause.note
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the reason why an agent stands still.
pub async fn agent_stop_reason_set(
    conn: &mut Connection,
    agent: AgentRef,
    cause: StopCause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET stop_reason = $3, stop_note = $5, updated_at = $4
        WHERE organization_id = $1 AND id = $2
            AND (stop_reason IS DISTINCT FROM $3 OR stop_note IS DISTINCT FROM $5)",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        cause.reason.as_str(),
        now,
        cause.note
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Cancels a stop that no worker has begun: the agent continues to run and is charged again. That needs the gate's
/// clearance, as a start does.
pub async fn agent_cancel_stop(
    conn: &mut Connection,
    clearance: &Clearance,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET stop_requested_at = NULL, stop_reason = NULL, stop_note = NULL,
            shutdown_warning_sent_at = CASE billing_status
                WHEN 'suspended' THEN NULL ELSE shutdown_warning_sent_at END,
            scheduled_shutdown_at = CASE billing_status
                WHEN 'suspended' THEN NULL ELSE scheduled_shutdown_at END,
            billing_status = CASE billing_status WHEN 'suspended' THEN 'active'
                ELSE billing_status END, updated_at = $3
        WHERE organization_id = $1 AND id = $2 AND status = 'running'",
        clearance.organization_id().uuid(),
        clearance.agent_id().uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes an agent's backups when its deletion is accepted, so that they are not charged for while the job waits for
/// the host.
pub async fn agent_delete_backups(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM public.milady_sandbox_backups b USING public.milady_sandboxes a
        WHERE a.id = b.sandbox_record_id AND a.organization_id = $1 AND a.id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET last_backup_at = NULL WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes an agent of which nothing is left outside, its backups, and the tombstone that its row leaves. Its usage spans and
/// ledger rows stay. The tombstone stays if it names a lost host: what is there is removed if the host returns.
pub async fn agent_delete(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM public.milady_sandboxes WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM cloud.tombstones t WHERE organization_id = $1 AND agent_id = $2 AND NOT EXISTS (
            SELECT FROM cloud.host_withdrawals w
            WHERE w.kind = 'loss' AND (w.node_id = t.node_id OR w.node_id = ANY(t.former_nodes)))",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}
