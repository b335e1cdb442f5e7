//! `milady_sandboxes` as owners see them: lists, single agents, and changes of one agent. Owns:
//! reading them with the organization's id, and compare-and-set. Does not own: what billing does to
//! many agents at once (`agents`).

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::billing::ledger::Position;
use crate::domain::agent::{AgentStatus, BillingStatus};
use crate::domain::credit_gate::Clearance;

/// An agent as its owner sees it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Record {
    pub id: Uuid,
    pub agent_name: Option<String>,
    pub status: String,
    pub database_status: String,
    pub last_backup_at: Option<DateTime<Utc>>,
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
    pub error_count: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub token_address: Option<String>,
    pub token_chain: Option<String>,
    pub token_name: Option<String>,
    pub token_ticker: Option<String>,
    pub billing_status: String,
    /// Its own price; none where it has none or one that is no valid amount.
    pub hourly_rate: Option<Decimal>,
    pub total_billed: Option<Decimal>,
    pub scheduled_shutdown_at: Option<DateTime<Utc>>,
    pub docker_image: Option<String>,
    pub node_id: Option<String>,
    /// It has an address on its host.
    pub reachable: bool,
    /// The type of the job under way for it.
    pub pending_job: Option<String>,
}

/// One page of an organization's agents, newest first, beginning after a position.
///
/// # Errors
/// Database errors.
pub async fn agents_page(
    conn: &mut PgConnection,
    organization_id: Uuid,
    after: Option<Position>,
    limit: i64,
) -> sqlx::Result<Vec<Record>> {
    sqlx::query_as!(
        Record,
        r#"SELECT a.id, a.agent_name, a.status, a.database_status, a.last_backup_at,
            a.last_heartbeat_at, a.error_message, a.error_count, a.created_at, a.updated_at,
            a.agent_config ->> 'tokenContractAddress' AS token_address,
            a.agent_config ->> 'chain' AS token_chain,
            a.agent_config ->> 'tokenName' AS token_name,
            a.agent_config ->> 'tokenTicker' AS token_ticker, a.billing_status,
            CASE WHEN a.hourly_rate >= 0 AND a.hourly_rate <> 'NaN' THEN a.hourly_rate END
                AS hourly_rate,
            nullif(a.total_billed, 'NaN') AS total_billed, a.scheduled_shutdown_at,
            a.docker_image, a.node_id, a.bridge_url IS NOT NULL AS "reachable!",
            pending.type AS "pending_job?"
        FROM milady_sandboxes a
        LEFT JOIN LATERAL (
            SELECT j.type FROM jobs j
            WHERE j.organization_id = $1 AND j.status IN ('pending', 'in_progress')
                AND j.type IN
                    ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')
                AND (j.agent_id = a.id OR j.data ->> 'agentId' = a.id::text)
            ORDER BY j.type = 'milady_delete' DESC, j.created_at LIMIT 1
        ) AS pending ON true
        WHERE a.organization_id = $1
            AND ($2::timestamptz IS NULL OR (a.created_at, a.id) < ($2, $3))
        ORDER BY a.created_at DESC, a.id DESC LIMIT $4"#,
        organization_id,
        after.map(|position| position.created_at),
        after.map(|position| position.id),
        limit
    )
    .fetch_all(conn)
    .await
}

/// One of an organization's agents.
///
/// # Errors
/// Database errors.
pub async fn agent_find(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
) -> sqlx::Result<Option<Record>> {
    sqlx::query_as!(
        Record,
        r#"SELECT a.id, a.agent_name, a.status, a.database_status, a.last_backup_at,
            a.last_heartbeat_at, a.error_message, a.error_count, a.created_at, a.updated_at,
            a.agent_config ->> 'tokenContractAddress' AS token_address,
            a.agent_config ->> 'chain' AS token_chain,
            a.agent_config ->> 'tokenName' AS token_name,
            a.agent_config ->> 'tokenTicker' AS token_ticker, a.billing_status,
            CASE WHEN a.hourly_rate >= 0 AND a.hourly_rate <> 'NaN' THEN a.hourly_rate END
                AS hourly_rate,
            nullif(a.total_billed, 'NaN') AS total_billed, a.scheduled_shutdown_at,
            a.docker_image, a.node_id, a.bridge_url IS NOT NULL AS "reachable!",
            (SELECT j.type FROM jobs j
                WHERE j.organization_id = $1 AND j.status IN ('pending', 'in_progress')
                    AND j.type IN
                        ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')
                    AND (j.agent_id = a.id OR j.data ->> 'agentId' = a.id::text)
                ORDER BY j.type = 'milady_delete' DESC, j.created_at LIMIT 1) AS pending_job
        FROM milady_sandboxes a WHERE a.organization_id = $1 AND a.id = $2"#,
        organization_id,
        agent_id
    )
    .fetch_optional(conn)
    .await
}

/// An agent that is asked for.
#[derive(Clone, Debug)]
pub struct NewAgent {
    /// Its name.
    pub name: String,
    /// The character it plays, which the organization must have.
    pub character_id: Option<Uuid>,
    /// Its configuration, a JSON object.
    pub config: Option<Value>,
    /// Its environment, a JSON object of texts.
    pub environment: Value,
    /// Its image, if not the default one.
    pub docker_image: Option<String>,
}

/// Writes a new agent.
///
/// # Errors
/// Database errors.
pub async fn agent_insert(
    conn: &mut PgConnection,
    organization_id: Uuid,
    user_id: Uuid,
    agent: &NewAgent,
    hourly_rate: Decimal,
    now: DateTime<Utc>,
) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!(
        "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, character_id,
            agent_config, environment_vars, docker_image, hourly_rate, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) RETURNING id",
        organization_id,
        user_id,
        agent.name,
        agent.character_id,
        agent.config,
        agent.environment,
        agent.docker_image,
        hourly_rate,
        now
    )
    .fetch_one(conn)
    .await
}

/// Whether an organization has a character. The table is another application's and may be missing.
///
/// # Errors
/// Database errors.
pub async fn character_exists(
    conn: &mut PgConnection,
    organization_id: Uuid,
    character_id: Uuid,
) -> sqlx::Result<bool> {
    let there = sqlx::query_scalar!(
        r#"SELECT to_regclass('public.user_characters') IS NOT NULL AS "there!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    if !there {
        return Ok(false);
    }
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM user_characters WHERE id = $1 AND organization_id = $2)",
    )
    .bind(character_id)
    .bind(organization_id)
    .fetch_one(conn)
    .await
}

/// An agent under its lock: what decides about a request or a job.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Whose it is.
    pub user_id: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// Where it is in its life.
    pub status: AgentStatus,
    /// Its standing with billing.
    pub billing: Option<BillingStatus>,
    /// The row names a container on a node.
    pub recorded: bool,
    /// A node, a container or a database of its own may hold something of it.
    pub leftovers: bool,
    /// It was asked to stop.
    pub stop_requested: bool,
    /// The key that a paired browser is given.
    pub api_token: Option<String>,
}

/// Locks one of an organization's agents. Comes after `organizations_lock` where both are needed.
///
/// # Errors
/// Database errors.
pub async fn agent_lock(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
) -> sqlx::Result<Option<Locked>> {
    let row = sqlx::query!(
        r#"SELECT user_id, agent_name, status, billing_status,
            node_id IS NOT NULL AND container_name IS NOT NULL AS "recorded!",
            coalesce(node_id, container_name, database_uri, neon_project_id) IS NOT NULL
                OR database_status <> 'none' OR coalesce(cardinality(former_nodes), 0) > 0 AS "leftovers!",
            stop_requested_at IS NOT NULL AS "stop_requested!",
            environment_vars ->> 'MILADY_API_TOKEN' AS api_token
        FROM milady_sandboxes WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE"#,
        organization_id,
        agent_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Locked {
        user_id: row.user_id,
        name: row.agent_name,
        status: AgentStatus::parse(&row.status),
        billing: BillingStatus::parse(&row.billing_status),
        recorded: row.recorded,
        leftovers: row.leftovers,
        stop_requested: row.stop_requested,
        api_token: row.api_token,
    }))
}

/// One of an organization's agents goes from one status to the next; `error` replaces what was said
/// of the last failure. False if it is in another status by now.
///
/// # Errors
/// Database errors.
pub async fn agent_move(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    (from, to): (AgentStatus, AgentStatus),
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE milady_sandboxes SET status = $4, error_message = $5,
            error_count = error_count + ($5::text IS NOT NULL)::int, updated_at = $6
        WHERE organization_id = $1 AND id = $2 AND status = $3",
        organization_id,
        agent_id,
        from.as_str(),
        to.as_str(),
        error,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Accepts a stop: from now on the owner pays nothing more for running.
///
/// # Errors
/// Database errors.
pub async fn agent_ask_stop(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE milady_sandboxes SET stop_requested_at = coalesce(stop_requested_at, $3),
            updated_at = $3
        WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a stop back that nobody has begun: a running agent runs on, and is charged again. It needs
/// the gate's clearance, as a start does.
///
/// # Errors
/// Database errors.
pub async fn agent_run_on(
    conn: &mut PgConnection,
    clearance: &Clearance,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE milady_sandboxes SET stop_requested_at = NULL,
            shutdown_warning_sent_at = CASE billing_status
                WHEN 'suspended' THEN NULL ELSE shutdown_warning_sent_at END,
            scheduled_shutdown_at = CASE billing_status
                WHEN 'suspended' THEN NULL ELSE scheduled_shutdown_at END,
            billing_status = CASE billing_status WHEN 'suspended' THEN 'active'
                ELSE billing_status END, updated_at = $3
        WHERE organization_id = $1 AND id = $2 AND status = 'running'",
        clearance.organization_id(),
        clearance.agent_id(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Accepts a deletion: the backups go at once, so that nothing is charged for keeping them while the
/// host is waited for.
///
/// # Errors
/// Database errors.
pub async fn agent_drop_backups(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM milady_sandbox_backups b USING milady_sandboxes a
        WHERE a.id = b.sandbox_record_id AND a.organization_id = $1 AND a.id = $2",
        organization_id,
        agent_id
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE milady_sandboxes SET last_backup_at = NULL WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes an agent's row; its backups go with it, what it was metered stays.
///
/// # Errors
/// Database errors.
pub async fn agent_delete(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM milady_sandboxes WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id
    )
    .execute(conn)
    .await?;
    Ok(())
}
