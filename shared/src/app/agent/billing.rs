//! An operator changes an agent's pricing. Owns: that the audit log says what was changed, in the same
//! transaction.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::agents::pricing::AgentPricing;
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::ids::{AgentId, AgentRef, UserId};
use crate::domain::money::Money;

/// What an operator changes. `None` leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub struct PricingChange {
    /// An agent that is no longer exempt is charged like any other from now on.
    pub exempt: Option<bool>,
    pub rate: Option<NewRate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewRate {
    ListPrice,
    /// Dollars per hour.
    Own(Decimal),
}

/// Changes an agent's pricing. What is owed stays owed, and a stop that was accepted goes on.
pub async fn agent_pricing_change(
    pool: &Database,
    admin_id: UserId,
    agent_id: AgentId,
    change: PricingChange,
) -> Result<AgentPricing, RequestError> {
    let mut tx = pool.begin().await?;
    let found = db::agents::operator::agent_of_any_organization(&mut tx, agent_id).await?;
    let organization_id = found.ok_or(RequestError::AGENT_NOT_FOUND)?.organization_id;
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let agent = AgentRef {
        organization_id,
        agent_id,
    };
    let before = db::agents::pricing::agent_pricing_lock(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let after = apply(before, change);
    db::agents::pricing::agent_pricing_set(&mut tx, agent, after, now).await?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "agent.billing",
        subject: &agent_id.to_string(),
        details: json!({
            "organizationId": organization_id, "before": details(before), "after": details(after),
        }),
        result: "changed",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(after)
}

fn apply(before: AgentPricing, change: PricingChange) -> AgentPricing {
    AgentPricing {
        billing: change
            .exempt
            .map_or(before.billing, |exempt| before.billing.exempted(exempt)),
        hourly_rate: match change.rate {
            None => before.hourly_rate,
            Some(NewRate::ListPrice) => None,
            Some(NewRate::Own(rate)) => Some(rate),
        },
    }
}

fn details(pricing: AgentPricing) -> Value {
    let rate = pricing.hourly_rate.map(Money::rounded);
    json!({"billingStatus": pricing.billing, "hourlyRate": rate})
}
