//! `credit_transactions`. Owns: appending our rows. Does not own: reading them (`history`).

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::types::Json;

use crate::db::session::Connection;
use crate::domain::billing::{Charge, Span, SpanKind, WriteOff};
use crate::domain::hour::Hour;
use crate::domain::ids::{
    AgentId, OrganizationId, SpanId, TransactionId, UserId, sequential_transaction_id,
};
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

/// New rows as columns of equal length.
#[derive(Debug, Default)]
pub struct LedgerRows {
    ids: Vec<TransactionId>,
    organization_ids: Vec<OrganizationId>,
    agent_ids: Vec<AgentId>,
    span_ids: Vec<SpanId>,
    row_types: Vec<&'static str>,
    span_kinds: Vec<&'static str>,
    starts: Vec<DateTime<Utc>>,
    ends: Vec<DateTime<Utc>>,
    rates: Vec<Decimal>,
    seconds: Vec<Decimal>,
    amounts: Vec<Decimal>,
    balances_before: Vec<Decimal>,
    balances_after: Vec<Decimal>,
    descriptions: Vec<String>,
    metadata: Vec<Json<Metadata>>,
}

/// One row to be appended.
struct NewLedgerRow<'a> {
    organization_id: OrganizationId,
    span: &'a Span,
    /// `debit` or `write_off`.
    row_type: &'static str,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    rate: Decimal,
    seconds: Decimal,
    amount: Decimal,
    balance_before: Money,
    balance_after: Money,
    /// The description without the agent's name.
    label: &'static str,
    written_off: Option<Money>,
}

/// The `metadata` column: the keys that clients of the older biller read, and the amount that a write-off writes off.
#[derive(Debug, Serialize)]
struct Metadata {
    sandbox_id: AgentId,
    agent_name: Option<String>,
    billing_type: &'static str,
    hourly_rate: Money,
    billing_hour: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_off: Option<Money>,
}

impl LedgerRows {
    /// Adds a charge of a span.
    pub fn push_charge(
        &mut self,
        organization_id: OrganizationId,
        span: &Span,
        charge: &Charge,
        now: DateTime<Utc>,
    ) {
        let row = NewLedgerRow {
            organization_id,
            span,
            row_type: "debit",
            start: charge.slice.start,
            end: charge.slice.end,
            rate: charge.rate,
            seconds: charge.slice.seconds(),
            amount: -charge.slice.amount.to_decimal(),
            balance_before: charge.balance_before,
            balance_after: charge.balance_after,
            label: match span.kind {
                SpanKind::Running => "Milady agent hosting (running)",
                SpanKind::Idle => "Milady agent storage (idle)",
            },
            written_off: None,
        };
        self.push(&row, now);
    }

    /// Adds a write-off. Its amount is zero: it takes nothing off the balance.
    pub fn push_write_off(
        &mut self,
        organization_id: OrganizationId,
        span: &Span,
        write_off: &WriteOff,
        balance: Money,
        now: DateTime<Utc>,
    ) {
        let microseconds = write_off.end.timestamp_micros() - write_off.start.timestamp_micros();
        let row = NewLedgerRow {
            organization_id,
            span,
            row_type: "write_off",
            start: write_off.start,
            end: write_off.end,
            rate: write_off.rate,
            seconds: Decimal::new(microseconds, 6),
            amount: Decimal::ZERO,
            balance_before: balance,
            balance_after: balance,
            label: "Written off: Milady agent",
            written_off: Some(write_off.worth),
        };
        self.push(&row, now);
    }

    fn push(&mut self, row: &NewLedgerRow<'_>, now: DateTime<Utc>) {
        let span = row.span;
        let hour = Hour::containing(row.start).instant();
        let name = span.agent_name.clone();
        let shown_name = name.clone().unwrap_or_else(|| span.agent_id.to_string());
        let distinguisher = span.id.uuid().as_u128() ^ u128::from(hour.timestamp().unsigned_abs());
        let id = sequential_transaction_id(now, self.ids.len(), distinguisher);
        self.ids.push(id);
        self.organization_ids.push(row.organization_id);
        self.agent_ids.push(span.agent_id);
        self.span_ids.push(span.id);
        self.row_types.push(row.row_type);
        self.span_kinds.push(span.kind.as_str());
        self.starts.push(row.start);
        self.ends.push(row.end);
        self.rates.push(row.rate);
        self.seconds.push(row.seconds);
        self.amounts.push(row.amount);
        self.balances_before.push(row.balance_before.to_decimal());
        self.balances_after.push(row.balance_after.to_decimal());
        self.descriptions
            .push(format!("{}: {shown_name}", row.label));
        self.metadata.push(Json(Metadata {
            sandbox_id: span.agent_id,
            agent_name: name,
            billing_type: match span.kind {
                SpanKind::Running => "milady_running",
                SpanKind::Idle => "milady_idle",
            },
            hourly_rate: Money::rounded(row.rate),
            billing_hour: Timestamp(hour).to_string(),
            written_off: row.written_off,
        }));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Appends the rows in the given order, with ascending `seq`. A charge names no user: the column refers to `users`, and
/// a user who was deleted must not end the charging (F38). The span holds who it was.
///
/// # Errors
/// A unique key forbids charging a slice twice.
pub async fn ledger_append(
    conn: &mut Connection,
    rows: &LedgerRows,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO public.credit_transactions (id, organization_id, agent_id, usage_span_id,
            type, kind, period_start, period_end, rate, seconds, amount, balance_before,
            balance_after, description, metadata, created_at, seq)
        SELECT d.*, $16::timestamptz AT TIME ZONE 'UTC', nextval('cloud.credit_ledger_seq')
        FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
            $7::timestamptz[], $8::timestamptz[], $9::numeric[], $10::numeric[], $11::numeric[],
            $12::numeric[], $13::numeric[], $14::text[], $15::jsonb[]) AS d",
        &rows.ids as &[TransactionId],
        &rows.organization_ids as &[OrganizationId],
        &rows.agent_ids as &[AgentId],
        &rows.span_ids as &[SpanId],
        &rows.row_types as &[&str],
        &rows.span_kinds as &[&str],
        &rows.starts,
        &rows.ends,
        &rows.rates,
        &rows.seconds,
        &rows.amounts,
        &rows.balances_before,
        &rows.balances_after,
        &rows.descriptions,
        &rows.metadata as &[Json<Metadata>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Credit that an operator grants.
#[derive(Clone, Debug)]
pub struct CreditGrant<'a> {
    pub organization_id: OrganizationId,
    /// The operator.
    pub user_id: UserId,
    pub amount: Money,
    pub reason: &'a str,
    pub balance_before: Money,
}

/// Appends the row of a grant. The caller must hold the organization's lock.
pub async fn ledger_grant(
    conn: &mut Connection,
    grant: &CreditGrant<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<TransactionId> {
    let balance_after = grant.balance_before + grant.amount;
    sqlx::query_scalar!(
        "INSERT INTO public.credit_transactions (organization_id, user_id, amount, type, description,
            metadata, balance_before, balance_after, seq, created_at)
        VALUES ($1, $2, $3, 'credit', $4, '{\"kind\": \"grant\"}', $5, $6,
            nextval('cloud.credit_ledger_seq'), $7)
        RETURNING id",
        grant.organization_id.uuid(),
        grant.user_id.uuid(),
        grant.amount.to_decimal(),
        grant.reason,
        grant.balance_before.to_decimal(),
        balance_after.to_decimal(),
        now.naive_utc()
    )
    .fetch_one(conn)
    .await
}
