//! `milady_sandboxes` in a billing run. Owns: agents under the run's locks and their billing status.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::agent::{AgentStatus, BillingStatus, StopReason};
use crate::domain::billing::{Agent, BillingUpdate, WarningDelivery};
use crate::domain::ids::{AgentId, OrganizationId};

/// Locks the agents of these organizations in the order of their ids. Every transaction takes `organizations_lock`
/// first.
pub async fn agents_lock(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"SELECT count(*) AS "count!" FROM (
            SELECT FROM public.milady_sandboxes WHERE organization_id = ANY($1) ORDER BY id FOR NO KEY UPDATE
        ) AS locked"#,
        organization_ids as &[OrganizationId]
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Locks these agents in the order of their ids. The caller has locked the organizations they belong to and those that
/// are charged for them.
pub async fn agents_lock_of_any_organization(
    conn: &mut Connection,
    ids: &[AgentId],
) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT FROM public.milady_sandboxes WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        ids as &[AgentId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of these organizations that have an agent under dunning. Only a holder of an organization's lock changes which
/// they are.
pub async fn organizations_under_dunning(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
) -> sqlx::Result<Vec<OrganizationId>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT organization_id AS "id: OrganizationId" FROM public.milady_sandboxes
        WHERE organization_id = ANY($1) AND billing_status IN ('warning', 'shutdown_pending')"#,
        organization_ids as &[OrganizationId]
    )
    .fetch_all(conn)
    .await
}

#[derive(Clone, Debug)]
pub struct BilledAgent {
    pub organization_id: OrganizationId,
    /// The caller fills in `warning` and `warned_ceiling`.
    pub agent: Agent,
}

/// Reads the agents of these organizations, after [`agents_lock`].
pub async fn agents_read(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
) -> sqlx::Result<Vec<BilledAgent>> {
    let rows = sql!(query!(
        "SELECT id, organization_id, user_id, agent_name, status, billing_status, "
            + NAMES_CONTAINER
            + r#" AS "names_container!", shutdown_warning_sent_at, scheduled_shutdown_at
        FROM public.milady_sandboxes WHERE organization_id = ANY($1)"#,
        organization_ids as &[OrganizationId]
    ))
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().filter_map(|row| {
        let status = AgentStatus::parse_or_unknown(&row.status);
        Some(BilledAgent {
            organization_id: row.organization_id,
            agent: Agent {
                id: row.id,
                user_id: row.user_id,
                name: row.agent_name,
                billing: BillingStatus::parse(&row.billing_status)?,
                expects_container: status.expects_container(row.names_container),
                warned_at: row.shutdown_warning_sent_at,
                shutdown_at: row.scheduled_shutdown_at,
                warning: WarningDelivery::default(),
                warned_ceiling: None,
            },
        })
    });
    Ok(agents.collect())
}

/// Writes new billing statuses with their warning columns. Billing is the reason of the stops that it causes, unless
/// the agent is being stopped for another one.
pub async fn agents_update_billing(
    conn: &mut Connection,
    updates: &[BillingUpdate],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<AgentId> = updates.iter().map(|update| update.id).collect();
    let billing: Vec<String> = updates
        .iter()
        .map(|update| update.billing.as_str().to_owned())
        .collect();
    let warned: Vec<Option<DateTime<Utc>>> =
        updates.iter().map(|update| update.warned_at).collect();
    let shutdown: Vec<Option<DateTime<Utc>>> =
        updates.iter().map(|update| update.shutdown_at).collect();
    let stops: Vec<bool> = updates.iter().map(|update| update.stop.is_some()).collect();
    sqlx::query!(
        "UPDATE public.milady_sandboxes a
        SET billing_status = s.billing, shutdown_warning_sent_at = s.warned,
            scheduled_shutdown_at = s.shutdown, updated_at = $5,
            stop_reason = CASE WHEN s.stops THEN coalesce(a.stop_reason, $7) ELSE a.stop_reason END
        FROM UNNEST($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $6::bool[])
            AS s (id, billing, warned, shutdown, stops)
        WHERE a.id = s.id",
        &ids as &[AgentId],
        &billing,
        &warned as &[Option<DateTime<Utc>>],
        &shutdown as &[Option<DateTime<Utc>>],
        now,
        &stops,
        StopReason::Billing.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(Clone, Debug)]
pub struct ScheduledShutdown {
    pub agent_id: AgentId,
    pub agent_name: Option<String>,
    pub at: DateTime<Utc>,
}

/// The shutdowns scheduled for an organization, the earliest first, at most 200.
pub async fn scheduled_shutdowns(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Vec<ScheduledShutdown>> {
    sqlx::query_as!(
        ScheduledShutdown,
        r#"SELECT id AS agent_id, agent_name, scheduled_shutdown_at AS "at!" FROM public.milady_sandboxes
        WHERE organization_id = $1 AND billing_status = 'shutdown_pending'
            AND scheduled_shutdown_at IS NOT NULL
        ORDER BY scheduled_shutdown_at, id LIMIT 200"#,
        organization_id.uuid()
    )
    .fetch_all(conn)
    .await
}

/// An agent that is suspended while its backups are kept.
#[derive(Clone, Debug)]
pub struct SuspendedAgent {
    pub agent_id: AgentId,
    pub agent_name: Option<String>,
}

/// The suspended agents of an organization whose backups are kept, the oldest first, at most 200.
pub async fn suspended_agents_with_backups(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Vec<SuspendedAgent>> {
    sqlx::query_as!(
        SuspendedAgent,
        "SELECT id AS agent_id, agent_name FROM public.milady_sandboxes
        WHERE organization_id = $1 AND billing_status = 'suspended' AND last_backup_at IS NOT NULL
        ORDER BY created_at, id LIMIT 200",
        organization_id.uuid()
    )
    .fetch_all(conn)
    .await
}
