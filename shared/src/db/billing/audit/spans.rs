//! Invariants of spans.

use super::{AuditWindow, Violation};
use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// Charges cover a span exactly up to its mark, and nothing of what was cut out of a span; what is stated is charged,
/// and what is settled is stated. Only the first violation of a span is returned.
pub async fn spans_violations_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sql!(query_as!(
        Violation,
        r#"WITH charged AS (
            SELECT span, sum(extract(epoch FROM period_end - period_start)) AS seconds, max(period_end) AS through
            FROM cloud.usage_charges WHERE period_start >= $1 GROUP BY span
        ), spans AS (
            SELECT s.id, s.organization_id, s.started_at, s.ended_at, s.stated_through, s.settled, s.is_cut,
                c.seconds, c.through, greatest(s.started_at, $1) AS since,
                CASE WHEN s.is_cut THEN s.started_at ELSE "#
            + SPAN_MARK
            + r#" END AS mark
            FROM (SELECT *, coalesce(settled AND closed_reason IN ('written off', 'organization gone', 'older biller'),
                    false) AS is_cut
                FROM cloud.usage_spans WHERE NOT settled OR ended_at >= $1) AS s
            LEFT JOIN cloud.billing_accounts a USING (organization_id)
            LEFT JOIN charged c ON c.span = s.id
        )
        SELECT kind AS "kind!", 'span ' || id AS "subject!", organization_id AS "organization_id: OrganizationId",
            since AS "at?",
            jsonb_build_object('startedAt', started_at, 'endedAt', ended_at, 'mark', mark, 'chargedThrough', through,
                'chargedSeconds', seconds, 'statedThrough', stated_through) AS "detail!"
        FROM (
            SELECT *, CASE
                WHEN through > mark THEN 'span_charged_beyond_mark'
                WHEN mark > since AND coalesce(seconds, 0) < extract(epoch FROM mark - since)
                    THEN 'span_charged_short_of_mark'
                WHEN NOT is_cut AND stated_through > mark THEN 'span_stated_beyond_mark'
                WHEN NOT is_cut AND settled AND coalesce(stated_through, started_at) < ended_at
                    THEN 'span_settled_early'
                END AS kind
            FROM spans) AS s
        WHERE kind IS NOT NULL LIMIT 1000"#,
        window.charges_since
    ))
    .fetch_all(conn)
    .await
}

/// Spans of an agent do not overlap.
pub async fn overlapping_spans_of_any_organization(
    conn: &mut Connection,
    window: &AuditWindow,
) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"SELECT 'spans_overlap' AS "kind!", 'span ' || id AS "subject!",
            organization_id AS "organization_id: OrganizationId", started_at AS "at?",
            jsonb_build_object('agent', agent_id, 'startedAt', started_at, 'previousEnd', previous_end) AS "detail!"
        FROM (
            SELECT id, organization_id, agent_id, started_at,
                max(coalesce(ended_at, 'infinity')) OVER (PARTITION BY agent_id ORDER BY started_at, id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS previous_end
            FROM cloud.usage_spans
            WHERE (NOT settled OR ended_at >= $1) AND (ended_at IS NULL OR ended_at > started_at)) AS s
        WHERE previous_end > started_at LIMIT 1000"#,
        window.charges_since
    )
    .fetch_all(conn)
    .await
}

/// The open spans are those that the agents' rows call for.
pub async fn open_spans_violations_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<Violation>> {
    sql!(query_as!(
        Violation,
        r#"SELECT CASE WHEN s.id IS NULL THEN 'open_span_missing' WHEN a.kind IS NULL THEN 'open_span_unwanted'
                ELSE 'open_span_differs' END AS "kind!",
            'agent ' || coalesce(a.id, s.agent_id) AS "subject!",
            coalesce(a.organization_id, s.organization_id) AS "organization_id: OrganizationId",
            NULL::timestamptz AS "at?",
            jsonb_build_object('span', s.id, 'metered', s.kind, 'calledFor', a.kind) AS "detail!"
        FROM (
            SELECT id, organization_id, hourly_rate, "#
            + METERED_KIND
            + " AS kind
            FROM public.milady_sandboxes
        ) AS a
        FULL JOIN (SELECT * FROM cloud.usage_spans WHERE ended_at IS NULL) AS s ON s.agent_id = a.id
        WHERE "
            + OPEN_SPAN_DIFFERS
            + " LIMIT 1000"
    ))
    .fetch_all(conn)
    .await
}
