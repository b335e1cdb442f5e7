//! `milady_sandboxes` as owners see it. Owns: lists, single agents, and new rows. Does not own: what happens to an
//! agent later (`lifecycle`, `placement`).

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;

use crate::db::page::PagePosition;
use crate::db::session::Connection;
use crate::domain::agent::AgentStatus;
use crate::domain::billing::worth;
use crate::domain::ids::{AgentId, AgentRef, CharacterId, JobId, OrganizationId, UserId};
use crate::domain::job::JobKind;
use crate::domain::money::Money;
use crate::domain::redacted::debug_without_secrets;

/// An agent as its owner sees it.
#[derive(Clone, Debug)]
pub struct AgentRecord {
    pub id: AgentId,
    pub agent_name: Option<String>,
    pub status: String,
    pub database_status: String,
    pub last_backup_at: Option<DateTime<Utc>>,
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
    pub error_count: i32,
    /// A word of [`StopReason`](crate::domain::agent::StopReason), or of another version.
    pub stop_reason: Option<String>,
    /// What an operator who stopped the agent wrote for its owner.
    pub stop_note: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub token_address: Option<String>,
    pub token_chain: Option<String>,
    pub token_name: Option<String>,
    pub token_ticker: Option<String>,
    pub billing_status: String,
    /// The agent's own rate in dollars per hour; `None` if it has none or the row holds no valid amount.
    pub hourly_rate: Option<Decimal>,
    /// What the daily statements have counted; `None` if the row holds no valid amount.
    pub stated_total: Option<Decimal>,
    /// What was charged since.
    pub unstated: Option<Json<Vec<UnstatedUsage>>>,
    pub scheduled_shutdown_at: Option<DateTime<Utc>>,
    pub docker_image: Option<String>,
    pub node_id: Option<String>,
    /// Whether the agent has an address on its host.
    pub reachable: bool,
    /// The active job for the agent; a deletion takes precedence over other jobs.
    pub pending_job_id: Option<JobId>,
    /// Its type.
    pub pending_job: Option<String>,
    /// The names of the agent's environment variables. `None` in lists.
    pub environment_names: Option<Vec<String>>,
}

/// A part of a span that is charged and that no daily statement has counted.
#[derive(Clone, Debug, Deserialize)]
pub struct UnstatedUsage {
    hourly_rate: Decimal,
    start: DateTime<Utc>,
    /// Exclusive.
    end: DateTime<Utc>,
}

impl AgentRecord {
    /// Everything that the agent was charged.
    #[must_use]
    pub fn total_billed(&self) -> Money {
        let unstated = self.unstated.iter().flat_map(|unstated| &unstated.0);
        let unstated: Money = unstated
            .map(|usage| worth(usage.hourly_rate, usage.start, usage.end))
            .sum();
        Money::rounded(self.stated_total.unwrap_or_default()) + unstated
    }
}

/// Selects [`AgentRecord`]s of an organization. The first literal makes their `environment_names`. The second ends the
/// WHERE clause; its arguments begin with `$4`.
macro_rules! select_agent_records {
    ($environment_names:tt, $condition:tt, $organization_id:expr, $($arguments:tt)*) => {
        sql!(query_as!(
            AgentRecord,
            r#"SELECT a.id, a.agent_name, a.status, a.database_status, a.last_backup_at,
                a.last_heartbeat_at, a.error_message, a.error_count, a.stop_reason, a.stop_note, a.created_at,
                a.updated_at,
                a.agent_config ->> 'tokenContractAddress' AS token_address,
                a.agent_config ->> 'chain' AS token_chain,
                a.agent_config ->> 'tokenName' AS token_name,
                a.agent_config ->> 'tokenTicker' AS token_ticker, a.billing_status,
                CASE WHEN a.hourly_rate >= 0 AND a.hourly_rate <> 'NaN' THEN a.hourly_rate END
                    AS hourly_rate,
                nullif(a.total_billed, 'NaN') AS stated_total,
                u.unstated AS "unstated: Json<Vec<UnstatedUsage>>", a.scheduled_shutdown_at,
                a.docker_image, a.node_id, a.bridge_url IS NOT NULL AS "reachable!",
                pending.id AS "pending_job_id?: JobId", pending.type AS "pending_job?", "#
            + $environment_names + r#" AS environment_names
            FROM public.milady_sandboxes a
            LEFT JOIN LATERAL (
                SELECT j.id, j.type FROM public.jobs j
                WHERE j.organization_id = $1 AND j.status IN "# + ACTIVE_STATUSES
            + " AND j.type = ANY($2) AND j.type" + HAS_KIND_PREFIX + " AND " + JOB_IS_FOR_AGENT
            + r#" ORDER BY j.type = $3 DESC, j.created_at LIMIT 1
            ) AS pending ON true
            LEFT JOIN (
                SELECT s.agent_id, jsonb_agg(jsonb_build_object('hourly_rate', s.hourly_rate::text,
                    'start', coalesce(s.stated_through, s.started_at),
                    'end', "# + SPAN_MARK + ")) AS unstated
                FROM cloud.usage_spans s LEFT JOIN cloud.billing_accounts a USING (organization_id)
                WHERE s.organization_id = $1 AND NOT s.settled GROUP BY s.agent_id
            ) AS u ON u.agent_id = a.id
            WHERE a.organization_id = $1 " + $condition,
            $organization_id,
            &JobKind::names() as &[&str],
            JobKind::Delete.as_str(),
            $($arguments)*
        ))
    };
}

/// Which of an organization's agents are listed; `None` does not limit the list.
#[derive(Clone, Copy, Debug, Default)]
pub struct AgentSelection {
    pub status: Option<AgentStatus>,
    /// Only agents whose row, backups or jobs have changed since. A heartbeat is no change.
    pub changed_since: Option<DateTime<Utc>>,
}

/// One page of an organization's agents, newest first, after a position.
pub async fn agents_page(
    conn: &mut Connection,
    organization_id: OrganizationId,
    selection: AgentSelection,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<Vec<AgentRecord>> {
    select_agent_records!(
        "NULL::text[]",
        "AND ($4::timestamptz IS NULL OR (a.created_at, a.id) < ($4, $5))
            AND ($7::text IS NULL OR a.status = $7)
            AND ($8::timestamptz IS NULL OR a.updated_at >= $8 OR a.last_backup_at >= $8 OR EXISTS (
                SELECT FROM public.jobs j WHERE j.organization_id = $1 AND j.agent_id = a.id
                    AND j.class IS NOT NULL AND j.updated_at >= $8 AT TIME ZONE 'UTC'))
        ORDER BY a.created_at DESC, a.id DESC LIMIT $6",
        organization_id.uuid(),
        after.map(|position| position.created_at),
        after.map(|position| position.id),
        limit,
        selection.status.map(AgentStatus::as_str),
        selection.changed_since
    )
    .fetch_all(conn)
    .await
}

/// How many agents an organization has, with this status if one is given.
pub async fn agents_count(
    conn: &mut Connection,
    organization_id: OrganizationId,
    status: Option<AgentStatus>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM public.milady_sandboxes
        WHERE organization_id = $1 AND ($2::text IS NULL OR status = $2)"#,
        organization_id.uuid(),
        status.map(AgentStatus::as_str)
    )
    .fetch_one(conn)
    .await
}

pub async fn agent_find(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<AgentRecord>> {
    select_agent_records!(
        "CASE jsonb_typeof(a.environment_vars) WHEN 'object' THEN ARRAY(
            SELECT name FROM jsonb_object_keys(a.environment_vars) AS name ORDER BY name) END",
        "AND a.id = $4",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

#[derive(Clone)]
pub struct NewAgent {
    pub name: String,
    /// A character of the same organization.
    pub character_id: Option<CharacterId>,
    /// A JSON object.
    pub config: Option<Value>,
    /// A JSON object of strings.
    pub environment: Value,
    /// `None` for the default image.
    pub docker_image: Option<String>,
}

debug_without_secrets!(NewAgent: name, character_id, docker_image);

pub async fn agent_insert(
    conn: &mut Connection,
    organization_id: OrganizationId,
    user_id: UserId,
    agent: &NewAgent,
    now: DateTime<Utc>,
) -> sqlx::Result<AgentId> {
    sqlx::query_scalar!(
        "INSERT INTO public.milady_sandboxes (organization_id, user_id, agent_name, character_id,
            agent_config, environment_vars, docker_image, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) RETURNING id",
        organization_id.uuid(),
        user_id.uuid(),
        agent.name,
        agent.character_id.map(CharacterId::uuid),
        agent.config,
        agent.environment,
        agent.docker_image,
        now
    )
    .fetch_one(conn)
    .await
}

/// Whether an organization has a character. The table belongs to another application and may not exist.
pub async fn character_exists(
    conn: &mut Connection,
    organization_id: OrganizationId,
    character_id: CharacterId,
) -> sqlx::Result<bool> {
    let table_exists = sqlx::query_scalar!(
        r#"SELECT to_regclass('public.user_characters') IS NOT NULL AS "there!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    if !table_exists {
        return Ok(false);
    }
    // Not checked at compile time, because our migrations do not create the table.
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM public.user_characters WHERE id = $1 AND organization_id = $2)",
    )
    .bind(character_id)
    .bind(organization_id)
    .fetch_one(conn)
    .await
}
