//! `credit_transactions`. Owns: appending our rows, and reading an organization's history.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::billing::{Charge, Span};

/// Debits to be appended: columns of one length.
#[derive(Debug, Default)]
pub struct Debits {
    organization_ids: Vec<Uuid>,
    user_ids: Vec<Uuid>,
    agent_ids: Vec<Uuid>,
    agent_names: Vec<Option<String>>,
    kinds: Vec<String>,
    span_ids: Vec<Uuid>,
    starts: Vec<DateTime<Utc>>,
    ends: Vec<DateTime<Utc>>,
    hours: Vec<DateTime<Utc>>,
    rates: Vec<Decimal>,
    seconds: Vec<Decimal>,
    amounts: Vec<Decimal>,
    before: Vec<Decimal>,
    after: Vec<Decimal>,
}

impl Debits {
    /// Adds one charge of a span.
    pub fn push(&mut self, organization_id: Uuid, span: &Span, charge: &Charge) {
        self.organization_ids.push(organization_id);
        self.user_ids.push(span.user_id);
        self.agent_ids.push(span.agent_id);
        self.agent_names.push(span.agent_name.clone());
        self.kinds.push(span.kind.as_str().to_owned());
        self.span_ids.push(span.id);
        self.starts.push(charge.slice.start);
        self.ends.push(charge.slice.end);
        self.hours.push(charge.slice.hour().start());
        self.rates.push(charge.rate);
        self.seconds.push(charge.slice.seconds());
        self.amounts.push(-charge.slice.amount.to_decimal());
        self.before.push(charge.balance_before.to_decimal());
        self.after.push(charge.balance_after.to_decimal());
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.span_ids.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.span_ids.is_empty()
    }
}

/// Appends debits in the order given: `seq` rises along it.
///
/// # Errors
/// Database errors, among them the unique key that forbids charging a slice twice.
pub async fn ledger_append(
    conn: &mut PgConnection,
    debits: &Debits,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"INSERT INTO credit_transactions (organization_id, user_id, amount, type, description,
            metadata, created_at, agent_id, usage_span_id, period_start, period_end, kind, rate,
            seconds, balance_before, balance_after, seq)
        SELECT d.organization_id, d.user_id, d.amount, 'debit',
            CASE d.kind WHEN 'running' THEN 'Milady agent hosting (running): '
                ELSE 'Milady agent storage (idle): ' END || coalesce(d.name, d.agent_id::text),
            jsonb_build_object('sandbox_id', d.agent_id, 'agent_name', d.name,
                'billing_type', 'milady_' || d.kind, 'hourly_rate', d.rate,
                'billing_hour', to_char(d.hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"')),
            $15::timestamptz AT TIME ZONE 'UTC', d.agent_id, d.span_id, d.period_start,
            d.period_end, d.kind, d.rate, d.seconds, d.before, d.after,
            nextval('credit_ledger_seq')
        FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::uuid[],
            $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::numeric[],
            $11::numeric[], $12::numeric[], $13::numeric[], $14::numeric[])
            AS d (organization_id, user_id, agent_id, name, kind, span_id, period_start, period_end,
                hour, rate, seconds, amount, before, after)"#,
        &debits.organization_ids,
        &debits.user_ids,
        &debits.agent_ids,
        &debits.agent_names as &[Option<String>],
        &debits.kinds,
        &debits.span_ids,
        &debits.starts,
        &debits.ends,
        &debits.hours,
        &debits.rates,
        &debits.seconds,
        &debits.amounts,
        &debits.before,
        &debits.after,
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
