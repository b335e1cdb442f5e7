//! Invariants of charges.

use super::{AuditWindow, Violation};
use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// A charge has an entry and a span of one organization, lies inside the span and inside one hour, and its amount is the
/// rate times the time, rounded half to even. Only the first violation of a charge is returned.
pub async fn charges_violations_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT kind AS "kind!",
            'charge of span ' || span || ' at ' || to_char(period_start, 'YYYY-MM-DD HH24:MI:SS.US') AS "subject!",
            organization_id AS "organization_id?: OrganizationId", period_start AS "at?",
            jsonb_build_object('entry', entry, 'periodEnd', period_end, 'amount', amount,
                'hourlyRate', hourly_rate) AS "detail!"
        FROM (
            SELECT c.*, s.organization_id, s.hourly_rate, CASE
                WHEN e.seq IS NULL THEN 'charge_without_entry'
                WHEN s.id IS NULL THEN 'charge_without_span'
                WHEN e.organization_id <> s.organization_id THEN 'charge_of_other_organization'
                WHEN c.period_start < s.started_at OR c.period_end > s.ended_at THEN 'charge_outside_span'
                WHEN c.period_end > date_trunc('hour', c.period_start, 'UTC') + interval '1 hour'
                    THEN 'charge_across_hours'
                -- More than half a millionth of a dollar away is wrong; exactly half goes to the even millionth.
                WHEN d.distance > 0.0018 OR d.distance = 0.0018 AND mod(c.amount * 1000000, 2) <> 0
                    THEN 'charge_amount'
                END AS kind
            FROM cloud.usage_charges c
            LEFT JOIN cloud.usage_spans s ON s.id = c.span
            LEFT JOIN cloud.ledger_entries e ON e.seq = c.entry AND e.created_at >= $1
            CROSS JOIN LATERAL (SELECT abs(c.amount * 3600
                - s.hourly_rate * extract(epoch FROM c.period_end - c.period_start)) AS distance) AS d
            WHERE c.period_start >= $1) AS c
        WHERE kind IS NOT NULL LIMIT 1000"#,
        window.charges_since
    )
    .fetch_all(conn)
    .await
}

/// No two charges of a span overlap. Since each lies inside one hour, the later one of two that do begins inside it.
pub async fn overlapping_charges_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT 'charges_overlap' AS "kind!",
            'charge of span ' || c.span || ' at ' || to_char(c.period_start, 'YYYY-MM-DD HH24:MI:SS.US') AS "subject!",
            s.organization_id AS "organization_id?: OrganizationId", c.period_start AS "at?",
            jsonb_build_object('entry', c.entry, 'periodEnd', c.period_end, 'other', o.period_start,
                'otherEnd', o.period_end) AS "detail!"
        FROM cloud.usage_charges c
        JOIN cloud.usage_charges o ON o.span = c.span AND o.period_start < c.period_start
            AND o.period_end > c.period_start
        LEFT JOIN cloud.usage_spans s ON s.id = c.span
        WHERE c.period_start >= $1 AND o.period_start >= $1
            AND c.period_start <> date_trunc('hour', c.period_start, 'UTC')
        LIMIT 1000"#,
        window.charges_since
    )
    .fetch_all(conn)
    .await
}
