//! Invariants of the tables of days.

use super::{AuditWindow, Violation};
use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// A day's usage is the sum of the charges of that day whose entries are stated.
pub async fn usage_days_violations_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"WITH charged AS (
            SELECT s.organization_id, (c.period_start AT TIME ZONE 'UTC')::date AS day, s.agent_id, s.kind,
                sum(extract(epoch FROM c.period_end - c.period_start)) AS seconds, sum(c.amount) AS amount
            FROM cloud.usage_charges c
            JOIN cloud.ledger_entries e ON e.seq = c.entry AND e.created_at >= $1
            JOIN cloud.usage_spans s ON s.id = c.span
            JOIN cloud.billing_accounts a ON a.organization_id = s.organization_id
            WHERE c.period_start >= $1 AND e.created_at < (a.stated_through + 1)::timestamp AT TIME ZONE 'UTC'
            GROUP BY 1, 2, 3, 4
        )
        SELECT 'usage_day_differs' AS "kind!", 'day ' || day || ' of agent ' || agent_id || ', ' || kind AS "subject!",
            organization_id AS "organization_id: OrganizationId", day::timestamp AT TIME ZONE 'UTC' AS "at?",
            jsonb_build_object('amount', d.amount, 'charges', c.amount, 'seconds', d.seconds,
                'chargedSeconds', c.seconds) AS "detail!"
        FROM (SELECT * FROM cloud.usage_days WHERE day >= ($1 AT TIME ZONE 'UTC')::date) AS d
        FULL JOIN charged c USING (organization_id, day, agent_id, kind)
        WHERE (d.seconds, d.amount) IS DISTINCT FROM (c.seconds, c.amount) LIMIT 1000"#,
        window.charges_since
    )
    .fetch_all(conn)
    .await
}

/// A day of the ledger continues the day before, and repeats the sums of its entries.
pub async fn ledger_days_violations_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"WITH entries AS (
            SELECT e.organization_id, (e.created_at AT TIME ZONE 'UTC')::date AS day,
                coalesce(sum(e.amount) FILTER (WHERE e.type = 'usage'), 0) AS charged,
                coalesce(sum(e.amount) FILTER (WHERE e.type <> 'usage'), 0) AS credited
            FROM cloud.ledger_entries e JOIN cloud.billing_accounts a USING (organization_id)
            WHERE e.created_at >= $1 AND e.created_at >= a.opened_at
                AND e.created_at < (a.stated_through + 1)::timestamp AT TIME ZONE 'UTC'
            GROUP BY 1, 2
        ), days AS (
            SELECT *, lag(closing) OVER (PARTITION BY organization_id ORDER BY day) AS previous
            FROM cloud.ledger_days WHERE day >= ($1 AT TIME ZONE 'UTC')::date
        )
        SELECT 'ledger_day_differs' AS "kind!", 'day ' || day || ' of organization ' || organization_id AS "subject!",
            organization_id AS "organization_id: OrganizationId", day::timestamp AT TIME ZONE 'UTC' AS "at?",
            jsonb_build_object('opening', d.opening, 'previousClosing', d.previous, 'charged', d.charged,
                'usageEntries', e.charged, 'credited', d.credited, 'otherEntries', e.credited,
                'external', d.external, 'closing', d.closing) AS "detail!"
        FROM days d FULL JOIN entries e USING (organization_id, day)
        WHERE (d.charged, d.credited) IS DISTINCT FROM (coalesce(e.charged, 0), coalesce(e.credited, 0))
            OR d.opening <> d.previous OR d.closing <> d.opening + d.charged + d.credited + d.external
        LIMIT 1000"#,
        window.entries_since
    )
    .fetch_all(conn)
    .await
}

/// The opening balance, the changes since, and what others changed add up to the closing balance of the last day.
/// Dropped entries are part of the opening balance.
pub async fn opening_balances_violations_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT 'opening_balance_differs' AS "kind!", 'organization ' || a.organization_id AS "subject!",
            a.organization_id AS "organization_id: OrganizationId", NULL::timestamptz AS "at?",
            jsonb_build_object('openingBalance', a.opening_balance, 'changes', d.changes,
                'closing', d.closing) AS "detail!"
        FROM cloud.billing_accounts a JOIN (
            SELECT d.organization_id, (array_agg(d.closing ORDER BY d.day DESC))[1] AS closing,
                sum(d.external + CASE WHEN d.day >= (o.opened_at AT TIME ZONE 'UTC')::date
                    THEN d.charged + d.credited ELSE 0 END) AS changes
            FROM cloud.ledger_days d JOIN cloud.billing_accounts o USING (organization_id) GROUP BY 1
        ) AS d USING (organization_id)
        WHERE a.opening_balance + d.changes <> d.closing LIMIT 1000"#
    )
    .fetch_all(conn)
    .await
}
