//! `usage_spans`. Owns: reading what is not settled, moving marks, and cutting spans where debt is written off or the
//! price changes. Triggers open and close spans.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::accounts::BillingAccount;
use crate::db::session::Connection;
use crate::domain::billing::{Span, SpanProgress};
use crate::domain::ids::{AgentId, OrganizationId, SpanId};

#[derive(Clone, Debug)]
pub struct OwnedSpan {
    pub organization_id: OrganizationId,
    pub span: Span,
}

/// Selects the [`SpanRow`]s of which something is not charged. The literal ends the query.
macro_rules! select_uncharged_spans {
    ($tail:literal, $organization_ids:expr, $before:expr) => {
        sqlx::query_as!(
            SpanRow,
            "SELECT s.id, s.agent_id, s.agent_created_at, s.organization_id, s.hourly_rate, s.started_at, s.ended_at,
                s.billed_through, s.caught_up
            FROM cloud.usage_spans s
            WHERE s.organization_id = ANY($1) AND NOT s.settled AND s.started_at < $2
                AND (s.ended_at IS NULL OR NOT s.caught_up OR s.ended_at > (
                    SELECT a.charged_through FROM cloud.billing_accounts a
                    WHERE a.organization_id = s.organization_id)) "
                + $tail,
            $organization_ids as &[OrganizationId],
            $before
        )
    };
}

/// The spans of these organizations that began before `before` and of which something is not charged. `accounts` are
/// those of the organizations, as far as they have any, read under the same locks or in the same snapshot.
pub async fn spans_uncharged(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
    accounts: &[BillingAccount],
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<OwnedSpan>> {
    let rows = select_uncharged_spans!("", organization_ids, before).fetch_all(conn);
    Ok(owned_spans(rows.await?, accounts))
}

/// Locks the spans of organizations without an account, whose lock would do otherwise, in the order of their ids, and
/// reads them. A writer that has ended one and not committed holds its lock.
pub async fn spans_lock_uncharged(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<OwnedSpan>> {
    let rows = select_uncharged_spans!("ORDER BY s.id FOR NO KEY UPDATE", organization_ids, before)
        .fetch_all(conn);
    Ok(owned_spans(rows.await?, &[]))
}

struct SpanRow {
    id: SpanId,
    agent_id: AgentId,
    agent_created_at: DateTime<Utc>,
    organization_id: OrganizationId,
    hourly_rate: Decimal,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    billed_through: Option<DateTime<Utc>>,
    caught_up: bool,
}

fn owned_spans(rows: Vec<SpanRow>, accounts: &[BillingAccount]) -> Vec<OwnedSpan> {
    let charged_through: HashMap<OrganizationId, Option<DateTime<Utc>>> = accounts
        .iter()
        .map(|account| (account.organization_id, account.charged_through))
        .collect();
    let spans = rows.into_iter().map(|row| {
        let mut span = Span {
            id: row.id,
            agent_id: row.agent_id,
            agent_created_at: row.agent_created_at,
            hourly_rate: row.hourly_rate,
            started_at: row.started_at,
            ended_at: row.ended_at,
            billed_through: row.billed_through,
            caught_up: row.caught_up,
            mark: row.started_at,
        };
        let through = charged_through.get(&row.organization_id).copied();
        span.mark = span.mark_at(through.flatten());
        OwnedSpan {
            organization_id: row.organization_id,
            span,
        }
    });
    spans.collect()
}

/// Changes what the rows say about the marks, each only if it is still as it was read. Returns how many changed: fewer
/// than `progress` has means that another transaction changed one.
pub async fn spans_advance(
    conn: &mut Connection,
    progress: &[SpanProgress],
) -> sqlx::Result<usize> {
    let ids: Vec<SpanId> = progress.iter().map(|span| span.id).collect();
    let previous: Vec<Option<DateTime<Utc>>> = progress.iter().map(|span| span.previous).collect();
    let through: Vec<Option<DateTime<Utc>>> =
        progress.iter().map(|span| span.billed_through).collect();
    let caught_up: Vec<bool> = progress.iter().map(|span| span.caught_up).collect();
    let result = sqlx::query!(
        "UPDATE cloud.usage_spans s SET billed_through = p.through, caught_up = p.caught_up
        FROM UNNEST($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::bool[])
            AS p (id, was, through, caught_up)
        WHERE s.id = p.id AND s.billed_through IS NOT DISTINCT FROM p.was AND NOT s.settled",
        &ids as &[SpanId],
        &previous as &[Option<DateTime<Utc>>],
        &through as &[Option<DateTime<Utc>>],
        &caught_up
    )
    .execute(conn)
    .await?;
    Ok(usize::try_from(result.rows_affected()).unwrap_or(usize::MAX))
}

/// A part of a span that nobody will be charged for.
#[derive(Clone, Copy, Debug)]
pub struct SpanCut {
    pub id: SpanId,
    /// The span is charged up to here.
    pub start: DateTime<Utc>,
    /// Exclusive.
    pub end: DateTime<Utc>,
}

/// Cuts parts out of spans: the charged part keeps its row, the cut becomes a settled span of its own, and what follows
/// a new span. Returns how many were cut: fewer than `cuts` has means that another transaction cut one.
pub async fn spans_cut_of_any_organization(
    conn: &mut Connection,
    cuts: &[SpanCut],
    closed_reason: &str,
) -> sqlx::Result<usize> {
    let ids: Vec<SpanId> = cuts.iter().map(|cut| cut.id).collect();
    let starts: Vec<DateTime<Utc>> = cuts.iter().map(|cut| cut.start).collect();
    let ends: Vec<DateTime<Utc>> = cuts.iter().map(|cut| cut.end).collect();
    let inserted = sqlx::query!(
        "WITH cut AS MATERIALIZED (
            SELECT s.*, c.cut_start, c.cut_end
            FROM UNNEST($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS c (id, cut_start, cut_end)
            JOIN cloud.usage_spans s USING (id)
            WHERE NOT s.settled AND (s.ended_at IS NULL OR s.ended_at > c.cut_start) ORDER BY s.id FOR UPDATE OF s
        ), charged AS (
            UPDATE cloud.usage_spans s SET ended_at = c.cut_start, billed_through = c.cut_start
            FROM cut c WHERE s.id = c.id RETURNING s.id
        ), pieces AS (
            SELECT c.*, c.cut_start AS piece_start, least(c.cut_end, c.ended_at) AS piece_end, true AS is_cut
            FROM cut c
            UNION ALL
            SELECT c.*, c.cut_end, c.ended_at, false FROM cut c WHERE c.ended_at IS NULL OR c.cut_end < c.ended_at
        )
        INSERT INTO cloud.usage_spans (agent_id, agent_created_at, organization_id, agent_name, kind, hourly_rate,
            list_priced, started_at, ended_at, billed_through, stated_through, settled, closed_reason)
        SELECT agent_id, agent_created_at, organization_id, agent_name, kind, hourly_rate, list_priced, piece_start,
            piece_end, CASE WHEN is_cut THEN piece_end END, CASE WHEN is_cut THEN piece_end END, is_cut,
            CASE WHEN is_cut THEN $4::text END
        FROM pieces JOIN charged USING (id) ORDER BY piece_start RETURNING settled",
        &ids as &[SpanId],
        &starts,
        &ends,
        closed_reason
    )
    .fetch_all(conn)
    .await?;
    Ok(inserted.iter().filter(|piece| piece.settled).count())
}
