//! What an organization used and paid, by the time of use. Only reads.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::history::agent_charges;
use crate::db::Database;
use crate::db::billing::history::usage::{
    Usage, UsageFilter, UsageGroup, usage_of_days, usage_of_hours,
};
use crate::domain::billing::SpanKind;
use crate::domain::history::{ChargeKey, Period};
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, AgentRef, SpanId};

/// The use of whole days by agent, of which those from `from` on, or by day, or of whole hours by hour.
pub async fn usage(
    pool: &Database,
    filter: UsageFilter,
    group: UsageGroup,
    from: Option<AgentId>,
    limit: i64,
) -> sqlx::Result<Vec<Usage>> {
    match (group, filter.agent_id) {
        (UsageGroup::Hour, None) => {
            let mut conn = pool.statements_planned_for_values();
            usage_of_hours(&mut conn, filter.organization_id, filter.period, limit).await
        }
        (UsageGroup::Hour, Some(agent_id)) => {
            let agent = AgentRef {
                organization_id: filter.organization_id,
                agent_id,
            };
            usage_of_agent(pool, agent, filter.period, limit).await
        }
        _ => {
            let mut conn = pool.statements_planned_for_values();
            usage_of_days(&mut conn, filter, group, from, limit).await
        }
    }
}

/// An agent's use of whole hours.
async fn usage_of_agent(
    pool: &Database,
    agent: AgentRef,
    period: Period,
    limit: i64,
) -> sqlx::Result<Vec<Usage>> {
    let newest = ChargeKey {
        period_start: period.to,
        span: SpanId::new(i64::MAX),
    };
    let mut tx = pool.begin().await?;
    let charges = agent_charges(&mut tx, agent, period, newest, i64::MAX).await?;
    tx.commit().await?;
    let mut hours: BTreeMap<DateTime<Utc>, Usage> = BTreeMap::new();
    for explained in charges {
        let charge = explained.charge;
        let hour = Hour::containing(charge.key.period_start).instant();
        let usage = hours.entry(hour).or_insert_with(|| Usage {
            at: Some(hour),
            agent_id: Some(agent.agent_id),
            agent_name: explained.span.agent_name.clone(),
            ..Usage::default()
        });
        let length = charge.period_end - charge.key.period_start;
        let seconds = Decimal::new(length.num_microseconds().unwrap_or_default(), 6);
        match explained.span.kind {
            SpanKind::Running => usage.running_seconds += seconds,
            SpanKind::Idle => usage.idle_seconds += seconds,
        }
        usage.amount += charge.amount;
    }
    let limit = usize::try_from(limit).unwrap_or_default();
    Ok(hours.into_values().take(limit).collect())
}
