//! What an organization's agents cost per hour. Owns: the figures of the credit gate. Does not own: the gate
//! (`domain::credit_gate`).

use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::agent::BillingStatus;
use crate::domain::ids::{AgentRef, OrganizationId, UserId};
use crate::domain::job::JobClass;

/// An agent that requests a start, and what its organization is committed to if it starts.
#[derive(Clone, Debug)]
pub struct Commitment {
    pub user_id: UserId,
    /// Whether an operator exempted the agent from billing.
    pub exempt: bool,
    /// Dollars per hour of every non-exempt agent that runs or is being started, including this one.
    pub hourly: Decimal,
}

/// What an organization is committed to if the agent starts; `None` if the organization has no such agent. An agent
/// without a valid rate of its own counts with `running_hourly`.
pub async fn agent_commitment(
    conn: &mut Connection,
    agent: AgentRef,
    running_hourly: Decimal,
) -> sqlx::Result<Option<Commitment>> {
    let row = sql!(query!(
        "SELECT asking.user_id, asking.billing_status, (
            SELECT sum(CASE WHEN a.hourly_rate >= 0 AND a.hourly_rate <> 'NaN'
                THEN a.hourly_rate ELSE $3 END)
            FROM public.milady_sandboxes a
            WHERE a.organization_id = $1 AND a.billing_status <> 'exempt' AND (
                a.id = $2 OR a.status IN ('running', 'provisioning', 'disconnected')
                OR EXISTS (
                    SELECT FROM public.jobs j
                    WHERE j.organization_id = $1 AND j.status IN "
            + ACTIVE_STATUSES
            + " AND j.type = ANY($4) AND j.type"
            + HAS_KIND_PREFIX
            + " AND "
            + JOB_IS_FOR_AGENT
            + "))
            ) AS hourly
        FROM public.milady_sandboxes asking WHERE asking.organization_id = $1 AND asking.id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        running_hourly,
        &JobClass::Start.kind_names() as &[&str]
    ))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Commitment {
        user_id: row.user_id,
        exempt: row.billing_status == BillingStatus::Exempt.as_str(),
        hourly: row.hourly.unwrap_or_default(),
    }))
}

/// Dollars per hour that an organization is committed to now, with the rules of [`agent_commitment`].
pub async fn committed_hourly(
    conn: &mut Connection,
    organization_id: OrganizationId,
    running_hourly: Decimal,
) -> sqlx::Result<Decimal> {
    sql!(query_scalar!(
        r#"SELECT coalesce(sum(CASE WHEN a.hourly_rate >= 0 AND a.hourly_rate <> 'NaN'
            THEN a.hourly_rate ELSE $2 END), 0) AS "hourly!"
        FROM public.milady_sandboxes a
        WHERE a.organization_id = $1 AND a.billing_status <> 'exempt' AND (
            a.status IN ('running', 'provisioning', 'disconnected')
            OR EXISTS (
                SELECT FROM public.jobs j
                WHERE j.organization_id = $1 AND j.status IN "#
            + ACTIVE_STATUSES
            + " AND j.type = ANY($3) AND j.type"
            + HAS_KIND_PREFIX
            + " AND "
            + JOB_IS_FOR_AGENT
            + "))",
        organization_id.uuid(),
        running_hourly,
        &JobClass::Start.kind_names() as &[&str]
    ))
    .fetch_one(conn)
    .await
}
