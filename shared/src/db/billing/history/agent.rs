//! What one agent was charged. Two statements: a single one would have the planner scan whole months.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::billing::SpanKind;
use crate::domain::history::{ChargeKey, ChargedSpan};
use crate::domain::ids::{AgentId, AgentRef, SpanId};

/// A span of an agent, and how far it is charged.
#[derive(Clone, Debug)]
pub struct AgentSpan {
    pub charged: ChargedSpan,
    pub agent_id: AgentId,
    pub kind: SpanKind,
    pub hourly_rate: Decimal,
    pub agent_name: Option<String>,
}

/// The time before which charges may have been dropped.
pub async fn charges_kept_since(conn: &mut Connection) -> sqlx::Result<DateTime<Utc>> {
    let oldest = sqlx::query_scalar!("SELECT min(period_start) FROM cloud.usage_charges")
        .fetch_one(conn)
        .await?;
    Ok(oldest.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// An agent's spans before a span that began at that time, the latest first. They do not overlap, so the times up to
/// which they are charged descend, too.
pub async fn spans_of_agent(
    conn: &mut Connection,
    agent: AgentRef,
    before: ChargeKey,
    limit: i64,
) -> sqlx::Result<Vec<AgentSpan>> {
    // A condition on what is charged would have the planner read and sort all spans.
    let rows = sqlx::query!(
        r#"SELECT s.id AS "id: SpanId", s.started_at, s.kind, s.hourly_rate, s.agent_name,
            greatest(s.started_at, s.billed_through, CASE WHEN s.caught_up THEN least(s.ended_at,
                (SELECT charged_through FROM cloud.billing_accounts WHERE organization_id = $2)) END) AS "charged_to!"
        FROM cloud.usage_spans s
        WHERE s.agent_id = $1 AND s.organization_id = $2
            AND s.started_at <= $3 AND (s.started_at, s.id) < ($3, $4)
        ORDER BY s.started_at DESC, s.id DESC LIMIT $5"#,
        agent.agent_id.uuid(),
        agent.organization_id.uuid(),
        before.period_start,
        before.span.get(),
        limit
    )
    .fetch_all(conn)
    .await?;
    let spans = rows.into_iter().filter_map(|row| {
        Some(AgentSpan {
            charged: ChargedSpan {
                id: row.id,
                started_at: row.started_at,
                charged_to: row.charged_to,
            },
            agent_id: agent.agent_id,
            kind: SpanKind::parse(&row.kind)?,
            hourly_rate: row.hourly_rate,
            agent_name: row.agent_name,
        })
    });
    Ok(spans.collect())
}

#[derive(Clone, Copy, Debug)]
pub struct AgentCharge {
    pub key: ChargeKey,
    pub period_end: DateTime<Utc>,
    pub amount: Decimal,
    /// The number of its entry.
    pub entry: i64,
    /// When it was paid.
    pub created_at: DateTime<Utc>,
}

/// The charges among these keys, newest first. `keys` are in descending order.
pub async fn charges_of_keys(
    conn: &mut Connection,
    agent: AgentRef,
    keys: &[ChargeKey],
) -> sqlx::Result<Vec<AgentCharge>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let spans: Vec<SpanId> = keys.iter().map(|key| key.span).collect();
    let starts: Vec<DateTime<Utc>> = keys.iter().map(|key| key.period_start).collect();
    let rows = sqlx::query!(
        r#"SELECT span AS "span!: SpanId", period_start AS "period_start!", period_end AS "period_end!",
            amount AS "amount!", entry AS "entry!", created_at
        FROM cloud.charges_of_keys($1, $2, $3)"#,
        agent.organization_id.uuid(),
        &spans as &[SpanId],
        &starts
    )
    .fetch_all(conn)
    .await?;
    let charges = rows.into_iter().filter_map(|row| {
        Some(AgentCharge {
            key: ChargeKey {
                period_start: row.period_start,
                span: row.span,
            },
            period_end: row.period_end,
            amount: row.amount,
            entry: row.entry,
            created_at: row.created_at?,
        })
    });
    let mut charges: Vec<AgentCharge> = charges.collect();
    charges.sort_unstable_by_key(|charge| Reverse(charge.key));
    Ok(charges)
}
