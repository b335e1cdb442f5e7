//! `cloud.daily_backups`: when each running agent is backed up next. Owns: that two runs do not back up the same agent. Does
//! not own: the times (`domain::daily_backup`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::session::Connection;
use crate::domain::ids::{AgentRef, OrganizationId};

/// A running agent whose daily backup is due.
#[derive(Clone, Copy, Debug)]
pub struct DueBackup {
    pub agent: AgentRef,
    /// How many attempts in a row have failed.
    pub failures: i32,
}

/// Running agents that have no time yet, at most 1,000.
pub async fn agents_without_time_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<AgentRef>> {
    let rows = sqlx::query!(
        "SELECT a.organization_id, a.id FROM public.milady_sandboxes a
        WHERE a.status = 'running' AND a.stop_requested_at IS NULL AND NOT EXISTS (
            SELECT FROM cloud.daily_backups d WHERE d.agent_id = a.id)
        LIMIT 1000"
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| AgentRef {
        organization_id: row.organization_id,
        agent_id: row.id,
    });
    Ok(agents.collect())
}

/// When an agent's next daily backup is due.
#[derive(Clone, Copy, Debug)]
pub struct BackupTime {
    pub agent: AgentRef,
    pub due_at: DateTime<Utc>,
}

/// Gives agents without a time theirs.
pub async fn backup_times_insert_of_any_organization(
    conn: &mut Connection,
    times: &[BackupTime],
) -> sqlx::Result<()> {
    let agents = times.iter().map(|time| time.agent.agent_id.uuid());
    let agents: Vec<Uuid> = agents.collect();
    let organizations = times.iter().map(|time| time.agent.organization_id.uuid());
    let organizations: Vec<Uuid> = organizations.collect();
    let due: Vec<DateTime<Utc>> = times.iter().map(|time| time.due_at).collect();
    sqlx::query!(
        "INSERT INTO cloud.daily_backups (agent_id, organization_id, due_at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
        ON CONFLICT (agent_id) DO NOTHING",
        &agents,
        &organizations,
        &due
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the times of agents that are gone, or belong to another organization now.
pub async fn backup_times_forget_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.daily_backups d WHERE NOT EXISTS (
            SELECT FROM public.milady_sandboxes a
            WHERE a.id = d.agent_id AND a.organization_id = d.organization_id)"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Claims running agents whose backup is due. Organizations take turns, those with the fewest agents that the run has claimed
/// first, and within an organization the agent that waits longest: one with many agents does not delay the others'. They are
/// due again at `again_at`, for the case that this worker dies.
pub async fn backups_claim_of_any_organization(
    conn: &mut Connection,
    claimed: &BTreeMap<OrganizationId, i64>,
    now: DateTime<Utc>,
    again_at: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<DueBackup>> {
    let (organizations, counts): (Vec<OrganizationId>, Vec<i64>) =
        claimed.iter().map(|(id, count)| (*id, *count)).unzip();
    let rows = sqlx::query!(
        "WITH due AS (
            SELECT w.agent_id, w.due_at, coalesce(c.agents, 0) + row_number() OVER (
                PARTITION BY w.organization_id ORDER BY w.due_at, w.agent_id) AS turn
            FROM cloud.daily_backups w
            JOIN public.milady_sandboxes a ON a.id = w.agent_id AND a.organization_id = w.organization_id
            LEFT JOIN unnest($4::uuid[], $5::bigint[]) AS c (organization_id, agents)
                ON c.organization_id = w.organization_id
            WHERE w.due_at <= $1 AND a.status = 'running' AND a.stop_requested_at IS NULL
        ), chosen AS (
            SELECT w.agent_id FROM cloud.daily_backups w JOIN due ON due.agent_id = w.agent_id
            WHERE w.due_at <= $1
            ORDER BY due.turn, due.due_at, w.agent_id LIMIT $3 FOR NO KEY UPDATE OF w SKIP LOCKED
        )
        UPDATE cloud.daily_backups AS d SET due_at = $2 FROM chosen WHERE d.agent_id = chosen.agent_id
        RETURNING d.organization_id, d.agent_id, d.failures",
        now,
        again_at,
        limit,
        &organizations as &[OrganizationId],
        &counts
    )
    .fetch_all(conn)
    .await?;
    let due = rows.into_iter().map(|row| DueBackup {
        agent: AgentRef {
            organization_id: row.organization_id,
            agent_id: row.agent_id,
        },
        failures: row.failures,
    });
    Ok(due.collect())
}

/// Records how an attempt ended: with this error, or well.
pub async fn backup_attempt_end(
    conn: &mut Connection,
    agent: AgentRef,
    error: Option<&str>,
    due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.daily_backups SET due_at = $4, error = $3,
            failures = CASE WHEN $3::text IS NULL THEN 0 ELSE failures + 1 END
        WHERE organization_id = $1 AND agent_id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        error,
        due_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Why the agent's last daily backup failed. `None` if it did not.
pub async fn backup_error(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<Option<String>> {
    let error = sqlx::query_scalar!(
        "SELECT error FROM cloud.daily_backups WHERE organization_id = $1 AND agent_id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(error.flatten())
}
