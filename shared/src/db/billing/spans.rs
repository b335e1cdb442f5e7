//! `agent_usage_spans`. Owns: reading what is unsettled, moving it by compare-and-set, and repairing
//! what the triggers missed. The triggers open and close spans.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::billing::{Kind, Span, SpanProgress};

/// A span and whose it is; `span` is none where the row cannot be billed (a rate that is negative or
/// not a number).
#[derive(Clone, Debug)]
pub struct OwnedSpan {
    /// Who pays.
    pub organization_id: Uuid,
    /// The span.
    pub span: Option<Span>,
}

/// The spans of these organizations that are not settled and began before `before`.
///
/// # Errors
/// Database errors.
pub async fn spans_unsettled(
    conn: &mut PgConnection,
    organization_ids: &[Uuid],
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<OwnedSpan>> {
    let rows = sqlx::query!(
        r#"SELECT id, agent_id, agent_created_at, organization_id, user_id, agent_name, kind,
            CASE WHEN hourly_rate >= 0 AND hourly_rate <> 'NaN' THEN hourly_rate END AS hourly_rate,
            hourly_rate IS NULL OR (hourly_rate >= 0 AND hourly_rate <> 'NaN') AS "valid!",
            started_at, ended_at, billed_through
        FROM agent_usage_spans
        WHERE organization_id = ANY($1) AND NOT settled AND started_at < $2"#,
        organization_ids,
        before
    )
    .fetch_all(conn)
    .await?;
    let spans = rows.into_iter().map(|row| OwnedSpan {
        organization_id: row.organization_id,
        span: Kind::parse(&row.kind)
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

/// Moves spans to what was charged, each only if it still stands where it was read. Answers how many
/// did; fewer than were asked for means that somebody else moved one.
///
/// # Errors
/// Database errors.
pub async fn spans_advance(
    conn: &mut PgConnection,
    progress: &[SpanProgress],
    closed_reason: Option<&str>,
) -> sqlx::Result<usize> {
    let ids: Vec<Uuid> = progress.iter().map(|span| span.id).collect();
    let was: Vec<Option<DateTime<Utc>>> = progress.iter().map(|span| span.was).collect();
    let through: Vec<DateTime<Utc>> = progress.iter().map(|span| span.billed_through).collect();
    let settled: Vec<bool> = progress.iter().map(|span| span.settled).collect();
    let done = sqlx::query!(
        "UPDATE agent_usage_spans s
        SET billed_through = p.through, settled = p.settled,
            closed_reason = coalesce($5, s.closed_reason)
        FROM UNNEST($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::bool[])
            AS p (id, was, through, settled)
        WHERE s.id = p.id AND s.billed_through IS NOT DISTINCT FROM p.was AND NOT s.settled",
        &ids,
        &was as &[Option<DateTime<Utc>>],
        &through,
        &settled,
        closed_reason
    )
    .execute(conn)
    .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// Compares the open spans with the agents that want one. Answers how many do not match.
///
/// # Errors
/// Database errors.
pub async fn spans_mismatched(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
            SELECT id, organization_id, hourly_rate,
                metered_kind(status, billing_status, stop_requested_at, last_backup_at) AS kind
            FROM milady_sandboxes
        ) AS a
        FULL JOIN (SELECT * FROM agent_usage_spans WHERE ended_at IS NULL) AS s ON s.agent_id = a.id
        WHERE a.kind IS DISTINCT FROM s.kind
            OR (s.kind IS NOT NULL AND s.organization_id <> a.organization_id)
            OR (s.kind = 'running' AND s.hourly_rate IS DISTINCT FROM a.hourly_rate)"#
    )
    .fetch_one(conn)
    .await
}

/// Ends open spans that their agent does not want (any more). Such a span ends where it was last
/// charged: in doubt the owner does not pay. Answers how many.
///
/// # Errors
/// Database errors.
pub async fn spans_end_unwanted(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE agent_usage_spans s
        SET ended_at = coalesce(s.billed_through, s.started_at), closed_reason = 'repaired'
        WHERE s.ended_at IS NULL AND NOT EXISTS (
            SELECT FROM milady_sandboxes a
            WHERE a.id = s.agent_id AND a.organization_id = s.organization_id
                AND s.kind = metered_kind(
                    a.status, a.billing_status, a.stop_requested_at, a.last_backup_at)
                AND (s.kind = 'idle' OR s.hourly_rate IS NOT DISTINCT FROM a.hourly_rate))"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Opens the spans that agents want and lack, from now on. Answers how many.
///
/// # Errors
/// Database errors.
pub async fn spans_open_missing(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "INSERT INTO agent_usage_spans (agent_id, agent_created_at, organization_id, user_id,
            agent_name, kind, hourly_rate, started_at)
        SELECT a.id, a.created_at, a.organization_id, a.user_id, a.agent_name, a.kind,
            CASE WHEN a.kind = 'running' THEN a.hourly_rate END,
            greatest(billing_clock(), (SELECT max(ended_at) FROM agent_usage_spans s
                WHERE s.agent_id = a.id))
        FROM (
            SELECT a.*, metered_kind(
                a.status, a.billing_status, a.stop_requested_at, a.last_backup_at) AS kind
            FROM milady_sandboxes a
            WHERE metered_kind(
                    a.status, a.billing_status, a.stop_requested_at, a.last_backup_at) IS NOT NULL
                AND NOT EXISTS (SELECT FROM agent_usage_spans s
                    WHERE s.agent_id = a.id AND s.ended_at IS NULL)
            ORDER BY a.id FOR NO KEY UPDATE OF a
        ) AS a
        ON CONFLICT (agent_id) WHERE ended_at IS NULL DO NOTHING"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// An organization a tick has to decide, and how many agents it has to look at there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The organization, which may be gone.
    pub organization_id: Uuid,
    /// Spans and agents under dunning.
    pub weight: usize,
}

/// The organizations with an unbilled slice or an agent under dunning that no tick has decided up to
/// `through`, the longest undecided first.
///
/// # Errors
/// Database errors.
pub async fn organizations_due(
    conn: &mut PgConnection,
    through: DateTime<Utc>,
) -> sqlx::Result<Vec<Due>> {
    let rows = sqlx::query!(
        r#"SELECT due.organization_id AS "organization_id!", count(*) AS "weight!"
        FROM (
            SELECT organization_id FROM agent_usage_spans
            WHERE NOT settled AND started_at < $1
                AND (billed_through IS NULL OR billed_through < $1)
            UNION ALL
            SELECT organization_id FROM milady_sandboxes
            WHERE billing_status IN ('warning', 'shutdown_pending')
        ) AS due
        LEFT JOIN billing_accounts a USING (organization_id)
        WHERE a.decided_through IS NULL OR a.decided_through < $1
        GROUP BY due.organization_id, a.decided_through
        ORDER BY a.decided_through NULLS FIRST, due.organization_id"#,
        through
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Due {
            organization_id: row.organization_id,
            weight: usize::try_from(row.weight).unwrap_or(usize::MAX),
        })
        .collect())
}
