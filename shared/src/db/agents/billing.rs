//! `milady_sandboxes`. Owns: agents under billing's lock, their totals and standing.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::agent::{AgentStatus, BillingStatus};
use crate::domain::billing::{Agent, AgentTotal, Handover, Standing};

/// Locks the agents of these organizations in the order of their ids. Comes after
/// `organizations_lock` in every transaction. Answers the organizations with an agent under dunning:
/// only of those, and of those whose credit does not suffice, are the rows of interest.
///
/// # Errors
/// Database errors.
pub async fn agents_lock(
    conn: &mut PgConnection,
    organization_ids: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "WITH locked AS MATERIALIZED (
            SELECT organization_id, billing_status FROM milady_sandboxes
            WHERE organization_id = ANY($1) ORDER BY id FOR NO KEY UPDATE
        )
        SELECT DISTINCT organization_id FROM locked
        WHERE billing_status IN ('warning', 'shutdown_pending')",
        organization_ids
    )
    .fetch_all(conn)
    .await
}

/// An agent as its locked row says.
#[derive(Clone, Debug)]
pub struct LockedAgent {
    /// Who pays.
    pub organization_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What billing looks at. The fate of its warning is filled in by the caller.
    pub agent: Agent,
}

/// Reads the agents of these organizations, after [`agents_lock`].
///
/// # Errors
/// Database errors.
pub async fn agents_read(
    conn: &mut PgConnection,
    organization_ids: &[Uuid],
) -> sqlx::Result<Vec<LockedAgent>> {
    let rows = sqlx::query!(
        r#"SELECT id, organization_id, user_id, agent_name, status, billing_status,
            node_id IS NOT NULL AND container_name IS NOT NULL AS "recorded!",
            shutdown_warning_sent_at, scheduled_shutdown_at
        FROM milady_sandboxes WHERE organization_id = ANY($1)"#,
        organization_ids
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().filter_map(|row| {
        Some(LockedAgent {
            organization_id: row.organization_id,
            user_id: row.user_id,
            agent: Agent {
                id: row.id,
                name: row.agent_name,
                billing: BillingStatus::parse(&row.billing_status)?,
                expects_container: AgentStatus::parse(&row.status).expects_container(row.recorded),
                warned_at: row.shutdown_warning_sent_at,
                shutdown_at: row.scheduled_shutdown_at,
                warning: Handover::Pending,
            },
        })
    });
    Ok(agents.collect())
}

/// Adds what was charged to the agents that still exist; each comes once.
///
/// # Errors
/// Database errors.
pub async fn agents_add_totals(conn: &mut PgConnection, totals: &[AgentTotal]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = totals.iter().map(|total| total.id).collect();
    let amounts: Vec<Decimal> = totals
        .iter()
        .map(|total| total.amount.to_decimal())
        .collect();
    let billed: Vec<DateTime<Utc>> = totals.iter().map(|total| total.billed_through).collect();
    sqlx::query!(
        "UPDATE milady_sandboxes a
        SET total_billed = a.total_billed + t.amount,
            last_billed_at = greatest(a.last_billed_at, t.billed_at)
        FROM UNNEST($1::uuid[], $2::numeric[], $3::timestamptz[]) AS t (id, amount, billed_at)
        WHERE a.id = t.id",
        &ids,
        &amounts,
        &billed
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes new billing statuses with their warning columns.
///
/// # Errors
/// Database errors.
pub async fn agents_set_standing(
    conn: &mut PgConnection,
    standings: &[Standing],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = standings.iter().map(|standing| standing.id).collect();
    let billing: Vec<String> = standings
        .iter()
        .map(|standing| standing.billing.as_str().to_owned())
        .collect();
    let warned: Vec<Option<DateTime<Utc>>> = standings
        .iter()
        .map(|standing| standing.warned_at)
        .collect();
    let shutdown: Vec<Option<DateTime<Utc>>> = standings
        .iter()
        .map(|standing| standing.shutdown_at)
        .collect();
    sqlx::query!(
        "UPDATE milady_sandboxes a
        SET billing_status = s.billing, shutdown_warning_sent_at = s.warned,
            scheduled_shutdown_at = s.shutdown, updated_at = $5
        FROM UNNEST($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[])
            AS s (id, billing, warned, shutdown)
        WHERE a.id = s.id",
        &ids,
        &billing,
        &warned as &[Option<DateTime<Utc>>],
        &shutdown as &[Option<DateTime<Utc>>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An agent that asks to start, and what its organization has committed to with it.
#[derive(Clone, Debug)]
pub struct Commitment {
    /// Whose it is.
    pub user_id: Uuid,
    /// The agent is an operator's gift.
    pub exempt: bool,
    /// Dollars per hour of every non-exempt agent that runs or is about to, this one included.
    pub hourly: Decimal,
}

/// Reads what an organization is committed to if `agent_id` starts; none where it has no such agent.
/// A rate that is no valid amount counts as `running_hourly`.
///
/// # Errors
/// Database errors.
pub async fn agent_commitment(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
    running_hourly: Decimal,
) -> sqlx::Result<Option<Commitment>> {
    let row = sqlx::query!(
        r#"SELECT asking.user_id, asking.billing_status, (
            SELECT sum(CASE WHEN a.hourly_rate >= 0 AND a.hourly_rate <> 'NaN'
                THEN a.hourly_rate ELSE $3 END)
            FROM milady_sandboxes a
            WHERE a.organization_id = $1 AND a.billing_status <> 'exempt' AND (
                a.id = $2 OR a.status IN ('running', 'provisioning', 'disconnected')
                OR EXISTS (
                    SELECT FROM jobs j
                    WHERE j.organization_id = $1 AND j.status IN ('pending', 'in_progress')
                        AND j.type IN ('milady_provision', 'milady_restore')
                        AND (j.agent_id = a.id OR j.data ->> 'agentId' = a.id::text)))
            ) AS hourly
        FROM milady_sandboxes asking WHERE asking.organization_id = $1 AND asking.id = $2"#,
        organization_id,
        agent_id,
        running_hourly
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Commitment {
        user_id: row.user_id,
        exempt: row.billing_status == BillingStatus::Exempt.as_str(),
        hourly: row.hourly.unwrap_or_default(),
    }))
}

/// Dollars per hour that an organization is committed to now (see [`agent_commitment`]).
///
/// # Errors
/// Database errors.
pub async fn committed_hourly(
    conn: &mut PgConnection,
    organization_id: Uuid,
    running_hourly: Decimal,
) -> sqlx::Result<Decimal> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(sum(CASE WHEN a.hourly_rate >= 0 AND a.hourly_rate <> 'NaN'
            THEN a.hourly_rate ELSE $2 END), 0) AS "hourly!"
        FROM milady_sandboxes a
        WHERE a.organization_id = $1 AND a.billing_status <> 'exempt' AND (
            a.status IN ('running', 'provisioning', 'disconnected')
            OR EXISTS (
                SELECT FROM jobs j
                WHERE j.organization_id = $1 AND j.status IN ('pending', 'in_progress')
                    AND j.type IN ('milady_provision', 'milady_restore')
                    AND (j.agent_id = a.id OR j.data ->> 'agentId' = a.id::text)))"#,
        organization_id,
        running_hourly
    )
    .fetch_one(conn)
    .await
}

/// A shutdown an owner has to expect.
#[derive(Clone, Debug)]
pub struct ScheduledShutdown {
    /// The agent.
    pub agent_id: Uuid,
    /// Its name.
    pub agent_name: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// The shutdowns scheduled for an organization, the earliest first, at most 200.
///
/// # Errors
/// Database errors.
pub async fn scheduled_shutdowns(
    conn: &mut PgConnection,
    organization_id: Uuid,
) -> sqlx::Result<Vec<ScheduledShutdown>> {
    let rows = sqlx::query!(
        r#"SELECT id, agent_name, scheduled_shutdown_at AS "at!" FROM milady_sandboxes
        WHERE organization_id = $1 AND billing_status = 'shutdown_pending'
            AND scheduled_shutdown_at IS NOT NULL
        ORDER BY scheduled_shutdown_at, id LIMIT 200"#,
        organization_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ScheduledShutdown {
            agent_id: row.id,
            agent_name: row.agent_name,
            at: row.at,
        })
        .collect())
}

/// An agent that nothing works on although something should.
#[derive(Clone, Debug)]
pub struct Neglected {
    /// Who pays.
    pub organization_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Which.
    pub agent_id: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// Whether there is, or may be, a container to stop.
    pub expects_container: bool,
    /// It is to be stopped for debt; otherwise only what it left is to be removed.
    pub suspended: bool,
}

/// Locks the agents that something may have to be done for: those being started, not changed since
/// `before`, those that billing suspended, and those that failed and still name a container. Those that somebody else holds are left for the next
/// time: what is decided about them is being written at this moment.
///
/// # Errors
/// Database errors.
pub async fn agents_neglected_lock(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM milady_sandboxes
        WHERE (status = 'provisioning' AND updated_at < $1)
            OR (billing_status = 'suspended' AND status <> 'stopped')
            OR (status = 'error' AND node_id IS NOT NULL AND container_name IS NOT NULL
                AND updated_at < $1)
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        before
    )
    .fetch_all(conn)
    .await
}

/// Those of these agents that have no job and should have no container: suspended ones, and such as
/// failed and left one behind.
///
/// # Errors
/// Database errors.
pub async fn agents_to_stop(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Neglected>> {
    let rows = sqlx::query!(
        r#"SELECT a.id, a.organization_id, a.user_id, a.agent_name, a.status,
            a.node_id IS NOT NULL AND a.container_name IS NOT NULL AS "recorded!",
            a.billing_status = 'suspended' AS "suspended!"
        FROM milady_sandboxes a
        WHERE a.id = ANY($1) AND (a.billing_status = 'suspended' OR a.status = 'error')
            AND NOT EXISTS (
            SELECT FROM jobs j
            WHERE j.organization_id = a.organization_id AND j.status IN ('pending', 'in_progress')
                AND j.type IN
                    ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')
                AND (j.agent_id = a.id OR j.data ->> 'agentId' = a.id::text))"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| Neglected {
        organization_id: row.organization_id,
        user_id: row.user_id,
        agent_id: row.id,
        name: row.agent_name,
        expects_container: AgentStatus::parse(&row.status).expects_container(row.recorded),
        suspended: row.suspended,
    });
    Ok(agents.collect())
}

/// Ends the starts among these agents that no job works on any more: provisioning becomes error (F13).
///
/// # Errors
/// Database errors.
pub async fn agents_end_orphaned_starts(
    conn: &mut PgConnection,
    ids: &[Uuid],
    error: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE milady_sandboxes a SET status = 'error', error_message = $2,
            error_count = error_count + 1, updated_at = $3
        WHERE a.id = ANY($1) AND a.status = 'provisioning' AND NOT EXISTS (
            SELECT FROM jobs j
            WHERE j.organization_id = a.organization_id AND j.status IN ('pending', 'in_progress')
                AND j.type IN
                    ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')
                AND (j.agent_id = a.id OR j.data ->> 'agentId' = a.id::text))",
        ids,
        error,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
