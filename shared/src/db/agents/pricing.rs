//! An agent's pricing: whether it is exempt from billing, and its own rate. Operators change both.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::agent::BillingStatus;
use crate::domain::ids::AgentRef;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentPricing {
    pub billing: BillingStatus,
    /// Dollars per hour while it runs; `None` for the list price.
    pub hourly_rate: Option<Decimal>,
}

/// Locks an agent, after `organizations_lock`, and reads its pricing. A rate that is no price counts as none.
pub async fn agent_pricing_lock(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<AgentPricing>> {
    let row = sqlx::query!(
        "SELECT billing_status, CASE WHEN hourly_rate >= 0 AND hourly_rate <> 'NaN' THEN hourly_rate END AS hourly_rate
        FROM public.milady_sandboxes WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|row| {
        Some(AgentPricing {
            // A check constraint allows the known words only.
            billing: BillingStatus::parse(&row.billing_status)?,
            hourly_rate: row.hourly_rate,
        })
    }))
}

/// Sets both in one statement, so that a trigger meters the agent by the new pricing from one moment on. An exempt agent
/// has no shutdown date.
pub async fn agent_pricing_set(
    conn: &mut Connection,
    agent: AgentRef,
    pricing: AgentPricing,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET billing_status = $3, hourly_rate = $4,
            shutdown_warning_sent_at = CASE WHEN NOT $6 THEN shutdown_warning_sent_at END,
            scheduled_shutdown_at = CASE WHEN NOT $6 THEN scheduled_shutdown_at END, updated_at = $5
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        pricing.billing.as_str(),
        pricing.hourly_rate,
        now,
        pricing.billing == BillingStatus::Exempt
    )
    .execute(conn)
    .await?;
    Ok(())
}
