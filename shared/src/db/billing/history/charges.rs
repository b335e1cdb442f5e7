//! The charges of one entry.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::billing::SpanKind;
use crate::domain::history::{ChargeKey, ChargeLinePosition, Period};
use crate::domain::ids::{AgentId, OrganizationId, SpanId};

/// The entry whose charges are read.
#[derive(Clone, Copy, Debug)]
pub struct ChargedEntry {
    pub organization_id: OrganizationId,
    pub seq: i64,
    /// All its charges are in here.
    pub period: Period,
}

#[derive(Clone, Debug)]
pub struct EntryCharge {
    pub position: ChargeLinePosition,
    pub agent_name: Option<String>,
    pub kind: Option<SpanKind>,
    pub hourly_rate: Decimal,
    pub period_end: DateTime<Utc>,
    pub amount: Decimal,
}

/// The charges of an entry from a position on, in the order of charging: by hour, then the older agent first.
pub async fn charges_of_entry(
    conn: &mut Connection,
    entry: ChargedEntry,
    from: Option<ChargeLinePosition>,
    limit: i64,
) -> sqlx::Result<Vec<EntryCharge>> {
    let rows = sqlx::query!(
        r#"SELECT c.span AS "span: SpanId", c.period_start, c.period_end, c.amount, s.agent_id AS "agent_id: AgentId",
            s.agent_created_at, s.agent_name, s.kind, s.hourly_rate
        FROM cloud.usage_charges c
        CROSS JOIN LATERAL (SELECT * FROM cloud.usage_spans s WHERE s.id = c.span OFFSET 0) AS s
        WHERE c.entry = $1 AND s.organization_id = $2 AND c.period_start < $4
            AND c.period_start >= greatest($3, date_trunc('hour', $5::timestamptz, 'UTC'))
            AND ($5 IS NULL OR (date_trunc('hour', c.period_start, 'UTC'), s.agent_created_at, s.agent_id,
                c.period_start, c.span) >= (date_trunc('hour', $5, 'UTC'), $6, $7, $5, $8))
        ORDER BY date_trunc('hour', c.period_start, 'UTC'), s.agent_created_at, s.agent_id, c.period_start, c.span
        LIMIT $9"#,
        entry.seq,
        entry.organization_id.uuid(),
        entry.period.from,
        entry.period.to,
        from.map(|from| from.key.period_start),
        from.map(|from| from.agent_created_at),
        from.map(|from| from.agent_id.uuid()),
        from.map(|from| from.key.span.get()),
        limit
    )
    .fetch_all(conn)
    .await?;
    let charges = rows.into_iter().map(|row| EntryCharge {
        position: ChargeLinePosition {
            agent_created_at: row.agent_created_at,
            agent_id: row.agent_id,
            key: ChargeKey {
                period_start: row.period_start,
                span: row.span,
            },
        },
        agent_name: row.agent_name,
        kind: SpanKind::parse(&row.kind),
        hourly_rate: row.hourly_rate,
        period_end: row.period_end,
        amount: row.amount,
    });
    Ok(charges.collect())
}

/// The sum of an entry's charges.
pub async fn charges_sum(conn: &mut Connection, entry: ChargedEntry) -> sqlx::Result<Decimal> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(sum(amount), 0) AS "sum!" FROM cloud.usage_charges
        WHERE entry = $1 AND period_start >= $2 AND period_start < $3"#,
        entry.seq,
        entry.period.from,
        entry.period.to
    )
    .fetch_one(conn)
    .await
}
