//! What the statement of a day changes outside of the tables of days: spans, agents' totals, and the rows of the older
//! application.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::types::Json;

use crate::db::session::Connection;
use crate::domain::ids::{AgentId, OrganizationId, SpanId, TransactionId};
use crate::domain::money::Money;

/// Up to where spans are stated, as columns of equal length.
#[derive(Debug, Default)]
pub struct StatedSpans {
    pub ids: Vec<SpanId>,
    pub through: Vec<DateTime<Utc>>,
}

/// Records up to where spans are stated. A span that ended by then is settled: nothing of it is left to be charged.
pub async fn spans_state_of_any_organization(
    conn: &mut Connection,
    stated: &StatedSpans,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.usage_spans s SET stated_through = d.through,
            settled = s.settled OR coalesce(s.ended_at <= d.through, false)
        FROM UNNEST($1::bigint[], $2::timestamptz[]) AS d (id, through) WHERE s.id = d.id",
        &stated.ids as &[SpanId],
        &stated.through
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Settles spans that ended where they are stated to, and spans that were never stated and ended where they began.
pub async fn spans_settle(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.usage_spans SET settled = true
        WHERE organization_id = ANY($1) AND NOT settled AND ended_at <= coalesce(stated_through, started_at)",
        organization_ids as &[OrganizationId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What agents were charged, as columns of equal length.
#[derive(Debug, Default)]
pub struct AgentCharges {
    pub ids: Vec<AgentId>,
    pub amounts: Vec<Decimal>,
    /// The end of the last charge.
    pub through: Vec<DateTime<Utc>>,
}

/// Adds what was charged to the agents that still exist. `charges` must name each agent once.
pub async fn agents_add_charged_of_any_organization(
    conn: &mut Connection,
    charges: &AgentCharges,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes a
        SET total_billed = a.total_billed + d.amount, last_billed_at = greatest(a.last_billed_at, d.through)
        FROM UNNEST($1::uuid[], $2::numeric[], $3::timestamptz[]) AS d (id, amount, through)
        WHERE a.id = d.id",
        &charges.ids as &[AgentId],
        &charges.amounts,
        &charges.through
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A day's debits in the older application's ledger, as columns of equal length.
#[derive(Debug, Default)]
pub struct DailyDebits {
    pub ids: Vec<TransactionId>,
    pub organization_ids: Vec<OrganizationId>,
    pub amounts: Vec<Decimal>,
    pub descriptions: Vec<String>,
    pub metadata: Vec<Json<DebitMetadata>>,
}

/// The keys that clients of the older biller read, and the day on which the amount was charged.
#[derive(Debug, Serialize)]
pub struct DebitMetadata {
    pub sandbox_id: AgentId,
    pub agent_name: Option<String>,
    /// `milady_running` or `milady_idle`.
    pub billing_type: &'static str,
    pub hourly_rate: Money,
    pub billing_day: NaiveDate,
}

/// Appends debits, dated at the last microsecond before `day_end`. Their organizations must exist. Debits that were
/// written before stay as they are.
pub async fn daily_debits_insert(
    conn: &mut Connection,
    day_end: DateTime<Utc>,
    debits: &DailyDebits,
) -> sqlx::Result<()> {
    let created_at = (day_end - TimeDelta::microseconds(1)).naive_utc();
    sqlx::query!(
        "INSERT INTO public.credit_transactions (id, organization_id, amount, type, description, metadata,
            created_at, seq)
        SELECT d.id, d.organization_id, d.amount, 'debit', d.description, d.metadata, $1, 0
        FROM UNNEST($2::uuid[], $3::uuid[], $4::numeric[], $5::text[], $6::jsonb[])
            AS d (id, organization_id, amount, description, metadata)
        ON CONFLICT (id) DO NOTHING",
        created_at,
        &debits.ids as &[TransactionId],
        &debits.organization_ids as &[OrganizationId],
        &debits.amounts,
        &debits.descriptions,
        &debits.metadata as &[Json<DebitMetadata>]
    )
    .execute(conn)
    .await?;
    Ok(())
}
