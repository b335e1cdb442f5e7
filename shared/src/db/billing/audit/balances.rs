//! Invariants of balances, totals and accounts.

use super::{AuditWindow, Violation};
use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// An agent's total is what its days say, and what an older biller charged before.
pub async fn totals_violations_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT 'total_billed_differs' AS "kind!", 'agent ' || a.id AS "subject!",
            a.organization_id AS "organization_id: OrganizationId", NULL::timestamptz AS "at?",
            jsonb_build_object('totalBilled', a.total_billed, 'days', coalesce(d.amount, 0)) AS "detail!"
        FROM public.milady_sandboxes a
        LEFT JOIN (SELECT agent_id, sum(amount) AS amount FROM cloud.usage_days GROUP BY 1) AS d ON d.agent_id = a.id
        WHERE a.total_billed < coalesce(d.amount, 0) OR a.total_billed > coalesce(d.amount, 0) AND NOT EXISTS (
            SELECT FROM cloud.billing_adoption WHERE required AND (adopted_at IS NULL OR a.created_at <= adopted_at))
        LIMIT 1000"#
    )
    .fetch_all(conn)
    .await
}

/// After a complete run no account is charged further than it is decided.
pub async fn accounts_violations_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT 'charged_beyond_decided' AS "kind!", 'organization ' || a.organization_id AS "subject!",
            a.organization_id AS "organization_id: OrganizationId", NULL::timestamptz AS "at?",
            jsonb_build_object('chargedThrough', a.charged_through, 'decidedThrough', a.decided_through) AS "detail!"
        FROM cloud.billing_accounts a
        WHERE a.charged_through > coalesce(a.decided_through, '-infinity') AND EXISTS (
            SELECT FROM cloud.billing_runs WHERE complete AND period_end >= a.charged_through)
        LIMIT 1000"#
    )
    .fetch_all(conn)
    .await
}

/// Balances and rates are numbers and not negative.
pub async fn values_violations_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT 'invalid_balance' AS "kind!", 'organization ' || id AS "subject!",
            id AS "organization_id: OrganizationId", NULL::timestamptz AS "at?",
            jsonb_build_object('balance', credit_balance::text) AS "detail!"
        FROM public.organizations WHERE credit_balance < 0 OR credit_balance = 'NaN'
        UNION ALL
        SELECT 'invalid_rate', 'agent ' || id, organization_id, NULL,
            jsonb_build_object('hourlyRate', hourly_rate::text)
        FROM public.milady_sandboxes WHERE hourly_rate < 0 OR hourly_rate = 'NaN'
        LIMIT 1000"#
    )
    .fetch_all(conn)
    .await
}

/// The mail provider took the warnings of suspended agents. An agent that has no warning of its organization counts if
/// it was suspended there: it may also have come suspended, or the older biller suspended it.
pub async fn warnings_violations_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT 'suspended_unwarned' AS "kind!", 'agent ' || a.id AS "subject!",
            a.organization_id AS "organization_id: OrganizationId", NULL::timestamptz AS "at?",
            jsonb_build_object('warnedAt', a.shutdown_warning_sent_at) AS "detail!"
        FROM public.milady_sandboxes a LEFT JOIN cloud.outbox_events e ON e.organization_id = a.organization_id
            AND e.type = 'agent.shutdown_scheduled' AND e.occurred_at = a.shutdown_warning_sent_at
        WHERE a.billing_status = 'suspended' AND a.shutdown_warning_sent_at IS NOT NULL AND e.handed_over_at IS NULL
            AND (e.id IS NOT NULL OR EXISTS (
                SELECT FROM cloud.outbox_events s
                WHERE s.organization_id = a.organization_id AND s.type = 'agent.suspended'
                    AND s.occurred_at >= a.shutdown_warning_sent_at
                    AND s.payload -> 'agents' @> jsonb_build_array(jsonb_build_object('id', a.id))))
        LIMIT 1000"#
    )
    .fetch_all(conn)
    .await
}

/// The days on which balances changed by more than entries and other applications' rows explain. A change within
/// seconds of midnight may count as one of the day before.
pub async fn external_changes_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT 'external_change' AS "kind!", 'day ' || d.day || ' of organization ' || d.organization_id AS "subject!",
            d.organization_id AS "organization_id: OrganizationId",
            d.day::timestamp AT TIME ZONE 'UTC' AS "at?",
            jsonb_build_object('external', d.external, 'explained', coalesce(t.amount, 0)) AS "detail!"
        FROM cloud.ledger_days d CROSS JOIN LATERAL (
            SELECT sum(amount) AS amount FROM public.credit_transactions
            WHERE organization_id = d.organization_id AND seq IS NULL AND amount <> 'NaN'
                AND created_at >= d.day AND created_at < d.day + 1) AS t
        WHERE d.day >= ($1 AT TIME ZONE 'UTC')::date AND d.external <> 0 AND d.external <> coalesce(t.amount, 0)
        LIMIT 1000"#,
        window.entries_since
    )
    .fetch_all(conn)
    .await
}
