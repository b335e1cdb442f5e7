//! The rows of other applications in `credit_transactions`: purchases, what other products cost, and what an older
//! biller charged for agents. Rows whose amount is not a number are left out.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::entries::Selection;
use crate::db::session::Connection;
use crate::domain::history::{OtherPosition, Period};
use crate::domain::ids::{AgentRef, OrganizationId, TransactionId};

#[derive(Clone, Debug)]
pub struct OtherTransaction {
    pub id: TransactionId,
    pub amount: Decimal,
    pub row_type: String,
    pub description: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Metadata of an older biller's row. Another application may have written anything there.
    pub agent_id: Option<String>,
    pub billing_type: Option<String>,
    pub hourly_rate: Option<String>,
}

impl OtherTransaction {
    #[must_use]
    pub fn position(&self) -> OtherPosition {
        OtherPosition {
            created_at: self.created_at,
            id: self.id,
        }
    }
}

/// An organization's rows from a position on, newest first. If `newer_than` is given, rows that are not newer may be
/// missing, apart from the first of them.
pub async fn others_page(
    conn: &mut Connection,
    organization_id: OrganizationId,
    selection: Selection<'_>,
    from: OtherPosition,
    newer_than: Option<DateTime<Utc>>,
    limit: i64,
) -> sqlx::Result<Vec<OtherTransaction>> {
    if let Some(row_type) = selection.row_type {
        return others_page_of_type(
            conn,
            organization_id,
            row_type,
            selection.period,
            from,
            limit,
        )
        .await;
    }
    sql!(query_as!(
        OtherTransaction,
        "SELECT "
            + OTHER_TRANSACTION_COLUMNS
            + " FROM public.credit_transactions
        WHERE organization_id = $1 AND seq IS NULL AND amount <> 'NaN'
            AND (created_at, id) <= ($2, $3) AND created_at >= $4 AND created_at < $5
        ORDER BY created_at DESC, id DESC
        LIMIT CASE WHEN $7::timestamp IS NULL THEN $6::bigint ELSE least($6::bigint, 1 + (
            SELECT count(*) FROM (
                SELECT FROM public.credit_transactions
                WHERE organization_id = $1 AND seq IS NULL AND amount <> 'NaN'
                    AND (created_at, id) <= ($2, $3) AND created_at >= $4 AND created_at < $5 AND created_at > $7
                LIMIT $6::bigint
            ) AS newer)) END",
        organization_id.uuid(),
        from.created_at.naive_utc(),
        from.id.uuid(),
        selection.period.from.naive_utc(),
        selection.period.to.naive_utc(),
        limit,
        newer_than.map(|time| time.naive_utc())
    ))
    .fetch_all(conn)
    .await
}

/// The same for one type, by the index that starts with it.
async fn others_page_of_type(
    conn: &mut Connection,
    organization_id: OrganizationId,
    row_type: &str,
    period: Period,
    from: OtherPosition,
    limit: i64,
) -> sqlx::Result<Vec<OtherTransaction>> {
    sql!(query_as!(
        OtherTransaction,
        "SELECT "
            + OTHER_TRANSACTION_COLUMNS
            + " FROM public.credit_transactions
        WHERE organization_id = $1 AND type = $2 AND seq IS NULL AND amount <> 'NaN'
            AND (created_at, id) <= ($3, $4) AND created_at >= $5 AND created_at < $6
        ORDER BY created_at DESC, id DESC LIMIT $7",
        organization_id.uuid(),
        row_type,
        from.created_at.naive_utc(),
        from.id.uuid(),
        period.from.naive_utc(),
        period.to.naive_utc(),
        limit
    ))
    .fetch_all(conn)
    .await
}

/// The rows that name an agent, from a position on, newest first.
pub async fn others_of_agent(
    conn: &mut Connection,
    agent: AgentRef,
    selection: Selection<'_>,
    from: OtherPosition,
    limit: i64,
) -> sqlx::Result<Vec<OtherTransaction>> {
    sql!(query_as!(
        OtherTransaction,
        "SELECT "
            + OTHER_TRANSACTION_COLUMNS
            + " FROM public.credit_transactions
        WHERE organization_id = $1 AND (metadata ->> 'sandbox_id') = $2 AND seq IS NULL AND amount <> 'NaN'
            AND (created_at, id) <= ($3, $4) AND created_at >= $5 AND created_at < $6
            AND ($7::text IS NULL OR type = $7)
        ORDER BY created_at DESC, id DESC LIMIT $8",
        agent.organization_id.uuid(),
        agent.agent_id.to_string(),
        from.created_at.naive_utc(),
        from.id.uuid(),
        selection.period.from.naive_utc(),
        selection.period.to.naive_utc(),
        selection.row_type,
        limit
    ))
    .fetch_all(conn)
    .await
}
