//! What one agent was charged. Two statements: a single one would have the planner scan whole months.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::billing::SpanKind;
use crate::domain::history::{ChargeKey, ChargedSpan};
use crate::domain::ids::{AgentId, AgentRef, SpanId};

/// A span of an agent of which something is charged.
#[derive(Clone, Debug)]
pub struct AgentSpan {
    pub charged: ChargedSpan,
    pub agent_id: AgentId,
    pub kind: SpanKind,
    pub hourly_rate: Decimal,
    pub agent_name: Option<String>,
}

/// Which spans of an agent are read.
#[derive(Clone, Copy, Debug)]
pub struct SpanSearch {
    /// Something was charged after this time.
    pub from: DateTime<Utc>,
    /// They began before this span, which began at that time.
    pub before: ChargeKey,
    pub limit: i64,
}

/// The time before which charges may have been dropped.
pub async fn charges_kept_since(conn: &mut Connection) -> sqlx::Result<DateTime<Utc>> {
    let oldest = sqlx::query_scalar!("SELECT min(period_start) FROM cloud.usage_charges")
        .fetch_one(conn)
        .await?;
    Ok(oldest.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// An agent's spans of which something is charged in a period, the latest first.
pub async fn spans_of_agent(
    conn: &mut Connection,
    agent: AgentRef,
    search: SpanSearch,
) -> sqlx::Result<Vec<AgentSpan>> {
    let rows = sqlx::query!(
        r#"SELECT s.id AS "id: SpanId", s.started_at, m.mark AS "mark!", s.kind, s.hourly_rate, s.agent_name
        FROM cloud.usage_spans s
        CROSS JOIN LATERAL (
            SELECT greatest(s.started_at, s.billed_through, CASE WHEN s.caught_up THEN least(s.ended_at,
                (SELECT charged_through FROM cloud.billing_accounts WHERE organization_id = $2)) END) AS mark
        ) AS m
        WHERE s.agent_id = $1 AND s.organization_id = $2
            AND s.started_at <= $3 AND (s.started_at, s.id) < ($3, $4)
            AND m.mark > greatest(s.started_at, $5)
        ORDER BY s.started_at DESC, s.id DESC LIMIT $6"#,
        agent.agent_id.uuid(),
        agent.organization_id.uuid(),
        search.before.period_start,
        search.before.span.get(),
        search.from,
        search.limit
    )
    .fetch_all(conn)
    .await?;
    let spans = rows.into_iter().filter_map(|row| {
        Some(AgentSpan {
            charged: ChargedSpan {
                id: row.id,
                started_at: row.started_at,
                charged_to: row.mark,
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
    let (Some(newest), Some(oldest)) = (keys.first(), keys.last()) else {
        return Ok(Vec::new());
    };
    let spans: Vec<SpanId> = keys.iter().map(|key| key.span).collect();
    let starts: Vec<DateTime<Utc>> = keys.iter().map(|key| key.period_start).collect();
    // An entry is written after the time that it charges, so the first partition that may hold it usually does.
    let rows = sqlx::query!(
        r#"SELECT c.span AS "span: SpanId", c.period_start, c.period_end, c.amount, c.entry,
            e.created_at AS "created_at!"
        FROM UNNEST($1::bigint[], $2::timestamptz[]) AS k (span, period_start)
        JOIN cloud.usage_charges c ON c.span = k.span AND c.period_start = k.period_start
        CROSS JOIN LATERAL (
            SELECT e.created_at FROM cloud.ledger_entries e
            WHERE e.organization_id = $3 AND e.seq = c.entry AND e.created_at >= c.period_start LIMIT 1
        ) AS e
        WHERE c.period_start >= $4 AND c.period_start <= $5
        ORDER BY c.period_start DESC, c.span DESC"#,
        &spans as &[SpanId],
        &starts,
        agent.organization_id.uuid(),
        oldest.period_start,
        newest.period_start
    )
    .fetch_all(conn)
    .await?;
    let charges = rows.into_iter().map(|row| AgentCharge {
        key: ChargeKey {
            period_start: row.period_start,
            span: row.span,
        },
        period_end: row.period_end,
        amount: row.amount,
        entry: row.entry,
        created_at: row.created_at,
    });
    Ok(charges.collect())
}
