//! The entries of an organization's ledger.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::history::Period;
use crate::domain::ids::{LedgerPosition, OrganizationId};

/// The type of entries that consist of charges.
pub const USAGE: &str = "usage";

#[derive(Clone, Debug)]
pub struct LedgerEntry {
    pub seq: i64,
    pub entry_type: String,
    /// Negative if it took from the balance.
    pub amount: Decimal,
    pub balance_before: Decimal,
    pub balance_after: Decimal,
    pub period_start: Option<DateTime<Utc>>,
    pub period_end: Option<DateTime<Utc>>,
    /// How many agents the entry is about.
    pub agents: Option<i32>,
    /// Why, in words for the owner.
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// Which rows of a history are wanted: those of one type, created in a period.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    pub row_type: Option<&'a str>,
    pub period: Period,
}

/// The entries from a number on downwards, with the highest number first.
pub async fn entries_page(
    conn: &mut Connection,
    organization_id: OrganizationId,
    selection: Selection<'_>,
    from: i64,
    limit: i64,
) -> sqlx::Result<Vec<LedgerEntry>> {
    if selection.row_type.is_some_and(|word| word != USAGE) {
        return other_entries_page(conn, organization_id, selection, from, limit).await;
    }
    sqlx::query_as!(
        LedgerEntry,
        r#"SELECT seq, type AS entry_type, amount, balance_before, balance_after, period_start, period_end, agents,
            detail ->> 'reason' AS reason, created_at
        FROM cloud.ledger_entries
        WHERE organization_id = $1 AND seq <= $2 AND created_at >= $3 AND created_at < $4
            AND ($5::text IS NULL OR type = $5)
        ORDER BY seq DESC LIMIT $6"#,
        organization_id.uuid(),
        from,
        selection.period.from,
        selection.period.to,
        selection.row_type,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The same for another type than usage, by the index that holds only such entries.
async fn other_entries_page(
    conn: &mut Connection,
    organization_id: OrganizationId,
    selection: Selection<'_>,
    from: i64,
    limit: i64,
) -> sqlx::Result<Vec<LedgerEntry>> {
    sqlx::query_as!(
        LedgerEntry,
        r#"SELECT seq, type AS entry_type, amount, balance_before, balance_after, period_start, period_end, agents,
            detail ->> 'reason' AS reason, created_at
        FROM cloud.ledger_entries
        WHERE organization_id = $1 AND seq <= $2 AND created_at >= $3 AND created_at < $4
            AND type <> 'usage' AND type = $5
        ORDER BY seq DESC LIMIT $6"#,
        organization_id.uuid(),
        from,
        selection.period.from,
        selection.period.to,
        selection.row_type,
        limit
    )
    .fetch_all(conn)
    .await
}

/// What the list of an entry's charges needs to know of the entry.
#[derive(Clone, Copy, Debug)]
pub struct EntrySummary {
    /// Whether it consists of charges.
    pub is_usage: bool,
    pub amount: Decimal,
    /// Null if the entry is about no time.
    pub period_start: Option<DateTime<Utc>>,
    pub period_end: Option<DateTime<Utc>>,
}

pub async fn entry_find(
    conn: &mut Connection,
    organization_id: OrganizationId,
    position: LedgerPosition,
) -> sqlx::Result<Option<EntrySummary>> {
    sqlx::query_as!(
        EntrySummary,
        r#"SELECT type = 'usage' AS "is_usage!", amount, period_start, period_end FROM cloud.ledger_entries
        WHERE organization_id = $1 AND created_at = $2 AND seq = $3"#,
        organization_id.uuid(),
        position.created_at,
        position.seq
    )
    .fetch_optional(conn)
    .await
}
