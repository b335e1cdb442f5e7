//! `credit_transactions`. Owns: appending our rows, and reading an organization's history.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::billing::{Charge, Kind, Span, WriteOff};
use crate::domain::hour::Hour;
use crate::domain::ids;
use crate::domain::money::Money;

/// Rows to be appended: columns of one length.
#[derive(Debug, Default)]
pub struct Lines {
    ids: Vec<Uuid>,
    organization_ids: Vec<Uuid>,
    user_ids: Vec<Uuid>,
    agent_ids: Vec<Uuid>,
    span_ids: Vec<Uuid>,
    types: Vec<&'static str>,
    kinds: Vec<&'static str>,
    starts: Vec<DateTime<Utc>>,
    ends: Vec<DateTime<Utc>>,
    rates: Vec<Decimal>,
    seconds: Vec<Decimal>,
    amounts: Vec<Decimal>,
    before: Vec<Decimal>,
    after: Vec<Decimal>,
    descriptions: Vec<String>,
    metadata: Vec<Json<Metadata>>,
}

/// What clients of the older biller look for in a debit, and what was given up in a write-off.
#[derive(Debug, Serialize)]
struct Metadata {
    sandbox_id: Uuid,
    agent_name: Option<String>,
    billing_type: &'static str,
    hourly_rate: Money,
    billing_hour: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_off: Option<Money>,
}

impl Lines {
    /// Adds one charge of a span, written at `now`.
    pub fn push_charge(
        &mut self,
        organization_id: Uuid,
        span: &Span,
        charge: &Charge,
        now: DateTime<Utc>,
    ) {
        let description = match span.kind {
            Kind::Running => "Milady agent hosting (running)",
            Kind::Idle => "Milady agent storage (idle)",
        };
        self.types.push("debit");
        self.seconds.push(charge.slice.seconds());
        self.amounts.push(-charge.slice.amount.to_decimal());
        self.before.push(charge.balance_before.to_decimal());
        self.after.push(charge.balance_after.to_decimal());
        let (start, end) = (charge.slice.start, charge.slice.end);
        self.push(
            organization_id,
            span,
            (start, end),
            charge.rate,
            (description, None),
            now,
        );
    }

    /// Adds debt that is given up: a row that takes nothing off the balance.
    pub fn push_write_off(
        &mut self,
        organization_id: Uuid,
        span: &Span,
        write_off: &WriteOff,
        balance: Money,
        now: DateTime<Utc>,
    ) {
        let microseconds = write_off.end.timestamp_micros() - write_off.start.timestamp_micros();
        let text = ("Written off: Milady agent", Some(write_off.worth));
        self.types.push("write_off");
        self.seconds.push(Decimal::new(microseconds, 6));
        self.amounts.push(Decimal::ZERO);
        self.before.push(balance.to_decimal());
        self.after.push(balance.to_decimal());
        let period = (write_off.start, write_off.end);
        self.push(organization_id, span, period, write_off.rate, text, now);
    }

    fn push(
        &mut self,
        organization_id: Uuid,
        span: &Span,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
        rate: Decimal,
        (description, written_off): (&str, Option<Money>),
        now: DateTime<Utc>,
    ) {
        let hour = Hour::containing(start).start();
        let name = span.agent_name.clone();
        let shown = name.clone().unwrap_or_else(|| span.agent_id.to_string());
        let entropy = span.id.as_u128() ^ u128::from(hour.timestamp().unsigned_abs());
        self.ids.push(ids::sequential(now, self.ids.len(), entropy));
        self.organization_ids.push(organization_id);
        self.user_ids.push(span.user_id);
        self.agent_ids.push(span.agent_id);
        self.span_ids.push(span.id);
        self.kinds.push(span.kind.as_str());
        self.starts.push(start);
        self.ends.push(end);
        self.rates.push(rate);
        self.descriptions.push(format!("{description}: {shown}"));
        self.metadata.push(Json(Metadata {
            sandbox_id: span.agent_id,
            agent_name: name,
            billing_type: match span.kind {
                Kind::Running => "milady_running",
                Kind::Idle => "milady_idle",
            },
            hourly_rate: Money::rounded(rate),
            billing_hour: hour.to_rfc3339_opts(SecondsFormat::Millis, true),
            written_off,
        }));
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Appends rows in the order given: `seq` rises along it.
///
/// # Errors
/// Database errors, among them the unique key that forbids charging a slice twice.
pub async fn ledger_append(
    conn: &mut PgConnection,
    lines: &Lines,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO credit_transactions (id, organization_id, user_id, agent_id, usage_span_id,
            type, kind, period_start, period_end, rate, seconds, amount, balance_before,
            balance_after, description, metadata, created_at, seq)
        SELECT d.*, $17::timestamptz AT TIME ZONE 'UTC', nextval('credit_ledger_seq')
        FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[],
            $7::text[], $8::timestamptz[], $9::timestamptz[], $10::numeric[], $11::numeric[],
            $12::numeric[], $13::numeric[], $14::numeric[], $15::text[], $16::jsonb[]) AS d",
        &lines.ids,
        &lines.organization_ids,
        &lines.user_ids,
        &lines.agent_ids,
        &lines.span_ids,
        &lines.types as &[&str],
        &lines.kinds as &[&str],
        &lines.starts,
        &lines.ends,
        &lines.rates,
        &lines.seconds,
        &lines.amounts,
        &lines.before,
        &lines.after,
        &lines.descriptions,
        &lines.metadata as &[Json<Metadata>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row of an organization's history. Rows of other writers leave ours empty.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Entry {
    pub id: Uuid,
    pub amount: Decimal,
    pub kind_of_row: String,
    pub description: Option<String>,
    pub agent_id: Option<Uuid>,
    pub period_start: Option<DateTime<Utc>>,
    pub period_end: Option<DateTime<Utc>>,
    pub kind: Option<String>,
    pub rate: Option<Decimal>,
    pub seconds: Option<Decimal>,
    pub balance_before: Option<Decimal>,
    pub balance_after: Option<Decimal>,
    pub created_at: DateTime<Utc>,
    pub seq: Option<i64>,
}

/// A place in a history: the row just before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When that row was written.
    pub created_at: DateTime<Utc>,
    /// Its number; none for another writer's row.
    pub seq: Option<i64>,
    /// The row.
    pub id: Uuid,
}

/// An organization's history, newest first, at most `limit` rows after a position. Amounts that are
/// not numbers are left out.
///
/// # Errors
/// Database errors.
pub async fn ledger_page(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Option<Uuid>,
    after: Option<Position>,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    let rows = sqlx::query!(
        r#"SELECT id, amount, type AS kind_of_row, description, agent_id, period_start, period_end,
            kind, rate, seconds, balance_before, balance_after,
            created_at AT TIME ZONE 'UTC' AS "created_at!", seq
        FROM credit_transactions
        WHERE organization_id = $1 AND amount <> 'NaN'
            AND ($2::uuid IS NULL OR agent_id = $2)
            AND ($3::timestamptz IS NULL OR (
                created_at <= $3 AT TIME ZONE 'UTC'
                AND (created_at, coalesce(seq, -1), id)
                    < ($3 AT TIME ZONE 'UTC', coalesce($4::bigint, -1), $5::uuid)))
        ORDER BY created_at DESC, seq DESC NULLS LAST, id DESC
        LIMIT $6"#,
        organization_id,
        agent_id,
        after.map(|position| position.created_at),
        after.and_then(|position| position.seq),
        after.map(|position| position.id),
        limit
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| Entry {
        id: row.id,
        amount: row.amount,
        kind_of_row: row.kind_of_row,
        description: row.description,
        agent_id: row.agent_id,
        period_start: row.period_start,
        period_end: row.period_end,
        kind: row.kind,
        rate: row.rate,
        seconds: row.seconds,
        balance_before: row.balance_before,
        balance_after: row.balance_after,
        created_at: row.created_at,
        seq: row.seq,
    });
    Ok(entries.collect())
}

/// Credit that an operator gives.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    /// To whom.
    pub organization_id: Uuid,
    /// By whom.
    pub user_id: Uuid,
    /// How much.
    pub amount: Money,
    /// What for.
    pub reason: &'a str,
    /// What the credit was before.
    pub before: Money,
}

/// Appends the row of a grant, under the organization's lock.
///
/// # Errors
/// Database errors.
pub async fn ledger_grant(
    conn: &mut PgConnection,
    grant: &Grant<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Uuid> {
    let after = grant.before + grant.amount;
    sqlx::query_scalar!(
        "INSERT INTO credit_transactions (organization_id, user_id, amount, type, description,
            metadata, balance_before, balance_after, seq, created_at)
        VALUES ($1, $2, $3, 'credit', $4, '{\"kind\": \"grant\"}', $5, $6,
            nextval('credit_ledger_seq'), $7)
        RETURNING id",
        grant.organization_id,
        grant.user_id,
        grant.amount.to_decimal(),
        grant.reason,
        grant.before.to_decimal(),
        after.to_decimal(),
        now.naive_utc()
    )
    .fetch_one(conn)
    .await
}
