//! Invariants of entries.

use super::{AuditWindow, Violation};
use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// A usage entry is the sum of its charges, and no other entry has charges. Charges of a run are a few days old at most;
/// those of older debts are looked up by their entry.
pub async fn entry_sums_violations_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"WITH recent AS (
            SELECT entry, sum(amount) AS amount FROM cloud.usage_charges WHERE period_start >= $1 GROUP BY entry
        )
        SELECT kind AS "kind!", 'entry ' || seq AS "subject!",
            organization_id AS "organization_id: OrganizationId", created_at AS "at?",
            jsonb_build_object('amount', amount, 'charges', charged) AS "detail!"
        FROM (
            SELECT *, CASE
                WHEN type = 'usage' AND charged IS NULL THEN 'entry_without_charges'
                WHEN type = 'usage' AND charged <> -amount THEN 'entry_differs_from_charges'
                WHEN type <> 'usage' AND charged IS NOT NULL THEN 'charges_of_other_entry' END AS kind
            FROM (
                SELECT e.seq, e.organization_id, e.created_at, e.type, e.amount,
                    CASE WHEN e.period_start >= $1 THEN r.amount
                        ELSE (SELECT sum(c.amount) FROM cloud.usage_charges c WHERE c.entry = e.seq) END AS charged
                FROM cloud.ledger_entries e LEFT JOIN recent r ON r.entry = e.seq
                WHERE e.created_at >= $1 AND (e.period_start IS NULL OR e.period_start >= $2)) AS e) AS e
        WHERE kind IS NOT NULL LIMIT 1000"#,
        window.entries_since,
        window.charges_kept_since
    )
    .fetch_all(conn)
    .await
}

/// Numbers are unique and in the order of times, and each entry's balances differ by its amount.
pub async fn entries_violations_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT kind AS "kind!", 'entry ' || seq AS "subject!",
            organization_id AS "organization_id: OrganizationId", created_at AS "at?",
            jsonb_build_object('amount', amount, 'balanceBefore', balance_before, 'balanceAfter', balance_after,
                'previous', previous, 'previousAt', previous_at) AS "detail!"
        FROM (
            SELECT e.*, CASE
                WHEN seq = previous THEN 'entry_number_repeated'
                WHEN created_at < previous_at THEN 'entry_out_of_order'
                WHEN balance_after <> balance_before + amount THEN 'entry_arithmetic'
                WHEN type = 'usage' AND a.organization_id IS NULL THEN 'entry_without_account' END AS kind
            FROM (
                SELECT seq, organization_id, created_at, type, amount, balance_before, balance_after,
                    lag(seq) OVER entries AS previous, lag(created_at) OVER entries AS previous_at
                FROM cloud.ledger_entries WHERE created_at >= $1
                WINDOW entries AS (PARTITION BY organization_id ORDER BY seq)) AS e
            LEFT JOIN cloud.billing_accounts a USING (organization_id)) AS e
        WHERE kind IS NOT NULL LIMIT 1000"#,
        window.entries_since
    )
    .fetch_all(conn)
    .await
}
