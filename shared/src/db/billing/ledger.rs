//! `ledger_entries` and `usage_charges`. Owns: appending to them. Does not own: reading them (`history`).

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::billing::Charge;
use crate::domain::ids::{
    LedgerPosition, OrganizationId, SpanId, TransactionId, UserId, ledger_transaction_id,
};
use crate::domain::money::Money;
use crate::domain::words::words;

words! {
    /// Why a balance changed.
    pub enum EntryType {
        Usage = "usage",
        WriteOff = "write_off",
        DebtPayment = "debt_payment",
        Grant = "grant",
        TopUp = "top_up",
        Refund = "refund",
        Adjustment = "adjustment",
    }
}

/// The time that an entry is about.
#[derive(Clone, Copy, Debug)]
pub struct EntryPeriod {
    pub start: DateTime<Utc>,
    /// Exclusive.
    pub end: DateTime<Utc>,
    /// How many agents the entry is about.
    pub agents: usize,
}

#[derive(Clone, Debug)]
pub struct NewEntry {
    pub organization_id: OrganizationId,
    pub entry_type: EntryType,
    /// Negative if it takes from the balance.
    pub amount: Money,
    pub balance_before: Money,
    pub period: Option<EntryPeriod>,
    pub detail: Option<Value>,
}

/// Appends entries. The caller holds the organizations' locks, and `now` was read under them. Returns the entries'
/// numbers, in the order of `entries`, which is ascending.
pub async fn entries_append(
    conn: &mut Connection,
    entries: &[NewEntry],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<i64>> {
    let organization_ids: Vec<OrganizationId> =
        entries.iter().map(|entry| entry.organization_id).collect();
    let types: Vec<&str> = entries
        .iter()
        .map(|entry| entry.entry_type.as_str())
        .collect();
    let amounts: Vec<Decimal> = entries
        .iter()
        .map(|entry| entry.amount.to_decimal())
        .collect();
    let before: Vec<Decimal> = entries
        .iter()
        .map(|entry| entry.balance_before.to_decimal())
        .collect();
    let starts: Vec<Option<DateTime<Utc>>> = entries
        .iter()
        .map(|entry| entry.period.map(|period| period.start))
        .collect();
    let ends: Vec<Option<DateTime<Utc>>> = entries
        .iter()
        .map(|entry| entry.period.map(|period| period.end))
        .collect();
    let agents: Vec<Option<i32>> = entries
        .iter()
        .map(|entry| {
            let period = entry.period?;
            Some(i32::try_from(period.agents).unwrap_or(i32::MAX))
        })
        .collect();
    let details: Vec<Option<Value>> = entries.iter().map(|entry| entry.detail.clone()).collect();
    sqlx::query_scalar!(
        "INSERT INTO cloud.ledger_entries (organization_id, created_at, type, amount, balance_before, balance_after,
            period_start, period_end, agents, detail)
        SELECT id, $9, type, amount, before, before + amount, period_start, period_end, agents, detail
        FROM UNNEST($1::uuid[], $2::text[], $3::numeric[], $4::numeric[], $5::timestamptz[], $6::timestamptz[],
            $7::int[], $8::jsonb[])
            AS e (id, type, amount, before, period_start, period_end, agents, detail)
        RETURNING seq",
        &organization_ids as &[OrganizationId],
        &types as &[&str],
        &amounts,
        &before,
        &starts as &[Option<DateTime<Utc>>],
        &ends as &[Option<DateTime<Utc>>],
        &agents as &[Option<i32>],
        &details as &[Option<Value>],
        now
    )
    .fetch_all(conn)
    .await
}

/// Appends one entry, as [`entries_append`] does.
pub async fn entry_append(
    conn: &mut Connection,
    entry: NewEntry,
    now: DateTime<Utc>,
) -> sqlx::Result<LedgerPosition> {
    let numbers = entries_append(conn, &[entry], now).await?;
    let seq = numbers.first().copied().ok_or(sqlx::Error::RowNotFound)?;
    Ok(LedgerPosition {
        created_at: now,
        seq,
    })
}

/// New charges, as columns of equal length.
#[derive(Debug, Default)]
pub struct NewCharges {
    entries: Vec<i64>,
    spans: Vec<SpanId>,
    starts: Vec<DateTime<Utc>>,
    ends: Vec<DateTime<Utc>>,
    amounts: Vec<Decimal>,
}

impl NewCharges {
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self {
            entries: Vec::with_capacity(count),
            spans: Vec::with_capacity(count),
            starts: Vec::with_capacity(count),
            ends: Vec::with_capacity(count),
            amounts: Vec::with_capacity(count),
        }
    }

    pub fn push(&mut self, entry: i64, span: SpanId, charge: &Charge) {
        self.entries.push(entry);
        self.spans.push(span);
        self.starts.push(charge.slice.start);
        self.ends.push(charge.slice.end);
        self.amounts.push(charge.slice.amount.to_decimal());
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Appends charges.
///
/// # Errors
/// A unique key forbids charging a slice twice.
pub async fn charges_append(conn: &mut Connection, charges: &NewCharges) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.usage_charges (entry, span, period_start, period_end, amount)
        SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::numeric[])",
        &charges.entries,
        &charges.spans as &[SpanId],
        &charges.starts,
        &charges.ends,
        &charges.amounts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An entry that the older application sees at once.
#[derive(Clone, Debug)]
pub struct MirroredCredit<'a> {
    pub organization_id: OrganizationId,
    /// The operator.
    pub user_id: UserId,
    pub position: LedgerPosition,
    /// Negative if it takes from the balance.
    pub amount: Money,
    pub entry_type: EntryType,
    pub reason: &'a str,
}

/// Repeats an entry in the older application's ledger. Returns the identifier, which is that of the entry.
pub async fn credit_mirror(
    conn: &mut Connection,
    credit: &MirroredCredit<'_>,
) -> sqlx::Result<TransactionId> {
    let id = ledger_transaction_id(credit.position);
    sqlx::query!(
        "INSERT INTO public.credit_transactions (id, organization_id, user_id, amount, type, description, metadata,
            seq, created_at)
        VALUES ($1, $2, $3, $4, CASE WHEN $4::numeric < 0 THEN 'debit' ELSE 'credit' END, $5,
            jsonb_build_object('kind', $6::text), $7, $8)",
        id.uuid(),
        credit.organization_id.uuid(),
        credit.user_id.uuid(),
        credit.amount.to_decimal(),
        credit.reason,
        credit.entry_type.as_str(),
        credit.position.seq,
        credit.position.created_at.naive_utc()
    )
    .execute(conn)
    .await?;
    Ok(id)
}
