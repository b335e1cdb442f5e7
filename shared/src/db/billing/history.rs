//! `credit_transactions` as an organization's history. Owns: reading it. Does not own: appending (`ledger`).

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::page::PagePosition;
use crate::db::session::Connection;
use crate::domain::ids::{AgentId, OrganizationId, TransactionId};

/// A row of an organization's history. Rows of other applications leave our columns empty.
#[derive(Clone, Debug)]
pub struct LedgerEntry {
    pub id: TransactionId,
    pub amount: Decimal,
    /// `credit`, `debit`, `write_off`, or a type of another application.
    pub kind_of_row: String,
    pub description: Option<String>,
    pub agent_id: Option<AgentId>,
    pub period_start: Option<DateTime<Utc>>,
    pub period_end: Option<DateTime<Utc>>,
    /// `running` or `idle`.
    pub kind: Option<String>,
    pub rate: Option<Decimal>,
    pub seconds: Option<Decimal>,
    pub balance_before: Option<Decimal>,
    pub balance_after: Option<Decimal>,
    pub created_at: DateTime<Utc>,
    pub seq: Option<i64>,
}

/// One page of an organization's history, newest first, after a position. Rows whose amount is not a number are left
/// out.
pub async fn ledger_page(
    conn: &mut Connection,
    organization_id: OrganizationId,
    agent_id: Option<AgentId>,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<Vec<LedgerEntry>> {
    sqlx::query_as!(
        LedgerEntry,
        r#"SELECT id, amount, type AS kind_of_row, description, agent_id, period_start, period_end,
            kind, rate, seconds, balance_before, balance_after,
            created_at AT TIME ZONE 'UTC' AS "created_at!", seq
        FROM public.credit_transactions
        WHERE organization_id = $1 AND amount <> 'NaN'
            AND ($2::uuid IS NULL OR agent_id = $2)
            AND ($3::timestamptz IS NULL OR (
                created_at <= $3 AT TIME ZONE 'UTC'
                AND (created_at, coalesce(seq, -1), id)
                    < ($3 AT TIME ZONE 'UTC', coalesce($4::bigint, -1), $5::uuid)))
        ORDER BY created_at DESC, seq DESC NULLS LAST, id DESC
        LIMIT $6"#,
        organization_id.uuid(),
        agent_id.map(AgentId::uuid),
        after.map(|position| position.created_at),
        after.and_then(|position| position.seq),
        after.map(|position| position.id),
        limit
    )
    .fetch_all(conn)
    .await
}
