//! `agent_usage_spans`. Owns: reading what is unsettled, moving billing marks by compare-and-set, and repairing what
//! the triggers missed. Triggers open and close spans.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::billing::{Span, SpanKind, SpanProgress};
use crate::domain::ids::{OrganizationId, SpanId};

#[derive(Clone, Debug)]
pub struct OwnedSpan {
    pub organization_id: OrganizationId,
    /// `None` if the row cannot be billed, because its rate is negative or not a number.
    pub span: Option<Span>,
}

/// The spans of these organizations that are not settled and began before `before`.
pub async fn spans_unsettled(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<OwnedSpan>> {
    let rows = sqlx::query!(
        r#"SELECT id, agent_id, agent_created_at, organization_id, user_id, agent_name, kind,
            CASE WHEN hourly_rate >= 0 AND hourly_rate <> 'NaN' THEN hourly_rate END AS hourly_rate,
            hourly_rate IS NULL OR (hourly_rate >= 0 AND hourly_rate <> 'NaN') AS "valid!",
            started_at, ended_at, billed_through
        FROM cloud.agent_usage_spans
        WHERE organization_id = ANY($1) AND NOT settled AND started_at < $2"#,
        organization_ids as &[OrganizationId],
        before
    )
    .fetch_all(conn)
    .await?;
    let spans = rows.into_iter().map(|row| OwnedSpan {
        organization_id: row.organization_id,
        span: SpanKind::parse(&row.kind)
            .filter(|_| row.valid)
            .map(|kind| Span {
                id: row.id,
                agent_id: row.agent_id,
                agent_created_at: row.agent_created_at,
                user_id: row.user_id,
                agent_name: row.agent_name,
                kind,
                hourly_rate: row.hourly_rate,
                started_at: row.started_at,
                ended_at: row.ended_at,
                billed_through: row.billed_through,
            }),
    });
    Ok(spans.collect())
}

/// Moves the billing marks of spans, each only if it is still where it was read. Returns how many moved: fewer than
/// `progress` has means that another transaction moved one.
pub async fn spans_advance(
    conn: &mut Connection,
    progress: &[SpanProgress],
    closed_reason: Option<&str>,
) -> sqlx::Result<usize> {
    let ids: Vec<SpanId> = progress.iter().map(|span| span.id).collect();
    let previous: Vec<Option<DateTime<Utc>>> = progress.iter().map(|span| span.previous).collect();
    let through: Vec<DateTime<Utc>> = progress.iter().map(|span| span.billed_through).collect();
    let settled: Vec<bool> = progress.iter().map(|span| span.settled).collect();
    let result = sqlx::query!(
        "UPDATE cloud.agent_usage_spans s
        SET billed_through = p.through, settled = p.settled,
            closed_reason = coalesce($5, s.closed_reason)
        FROM UNNEST($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::bool[])
            AS p (id, was, through, settled)
        WHERE s.id = p.id AND s.billed_through IS NOT DISTINCT FROM p.was AND NOT s.settled",
        &ids as &[SpanId],
        &previous as &[Option<DateTime<Utc>>],
        &through,
        &settled,
        closed_reason
    )
    .execute(conn)
    .await?;
    Ok(usize::try_from(result.rows_affected()).unwrap_or(usize::MAX))
}

/// Compares the open spans with those that the agents' statuses call for. Returns how many do not match.
pub async fn spans_mismatched_of_any_organization(conn: &mut Connection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
            SELECT id, organization_id, hourly_rate,
                cloud.metered_kind(status, billing_status, stop_requested_at, last_backup_at) AS kind
            FROM public.milady_sandboxes
        ) AS a
        FULL JOIN (SELECT * FROM cloud.agent_usage_spans WHERE ended_at IS NULL) AS s ON s.agent_id = a.id
        WHERE a.kind IS DISTINCT FROM s.kind
            OR (s.kind IS NOT NULL AND s.organization_id <> a.organization_id)
            OR (s.kind = 'running' AND s.hourly_rate IS DISTINCT FROM a.hourly_rate)"#
    )
    .fetch_one(conn)
    .await
}

/// Ends open spans that their agent's status does not call for. Such a span ends at its billing mark, because in doubt
/// the owner does not pay. Returns how many were ended.
pub async fn spans_end_unwanted_of_any_organization(conn: &mut Connection) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE cloud.agent_usage_spans s
        SET ended_at = coalesce(s.billed_through, s.started_at), closed_reason = 'repaired'
        WHERE s.ended_at IS NULL AND NOT EXISTS (
            SELECT FROM public.milady_sandboxes a
            WHERE a.id = s.agent_id AND a.organization_id = s.organization_id
                AND s.kind = cloud.metered_kind(
                    a.status, a.billing_status, a.stop_requested_at, a.last_backup_at)
                AND (s.kind = 'idle' OR s.hourly_rate IS NOT DISTINCT FROM a.hourly_rate))"
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Opens the spans that agents' states call for and that do not exist. They start now, not in the past. Returns how
/// many were opened.
pub async fn spans_open_missing_of_any_organization(conn: &mut Connection) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "INSERT INTO cloud.agent_usage_spans (agent_id, agent_created_at, organization_id, user_id,
            agent_name, kind, hourly_rate, started_at)
        SELECT a.id, a.created_at, a.organization_id, a.user_id, a.agent_name, a.kind,
            CASE WHEN a.kind = 'running' THEN a.hourly_rate END,
            greatest(cloud.billing_clock(), (SELECT max(ended_at) FROM cloud.agent_usage_spans s
                WHERE s.agent_id = a.id))
        FROM (
            SELECT a.*, cloud.metered_kind(
                a.status, a.billing_status, a.stop_requested_at, a.last_backup_at) AS kind
            FROM public.milady_sandboxes a
            WHERE cloud.metered_kind(
                    a.status, a.billing_status, a.stop_requested_at, a.last_backup_at) IS NOT NULL
                AND NOT EXISTS (SELECT FROM cloud.agent_usage_spans s
                    WHERE s.agent_id = a.id AND s.ended_at IS NULL)
            ORDER BY a.id FOR NO KEY UPDATE OF a
        ) AS a
        ON CONFLICT (agent_id) WHERE ended_at IS NULL DO NOTHING"
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}
