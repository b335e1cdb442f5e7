//! An operator writes off what an organization owes. The spans, the account, the ledger and the audit log change in
//! one transaction.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::locked::LockedCredit;
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::billing::accounts::BillingAccount;
use crate::db::billing::ledger::{EntryPeriod, EntryType, NewEntry};
use crate::db::billing::spans::SpanCut;
use crate::db::requests::audit_log::AuditEntry;
use crate::db::{Connection, Database};
use crate::domain::agent::StatusConflict;
use crate::domain::billing::Span;
use crate::domain::ids::{AgentId, OrganizationId, TransactionId, UserId, ledger_transaction_id};
use crate::domain::money::Money;

#[derive(Clone, Debug)]
pub struct WriteOffRequest {
    pub admin_id: UserId,
    pub organization_id: OrganizationId,
    pub reason: String,
}

/// Amounts are in dollars.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WrittenOff {
    pub transaction_id: TransactionId,
    /// What the organization owed.
    pub written_off: Decimal,
    /// It stays as it was.
    pub balance: Decimal,
}

/// Writes off what billing runs could not charge, and carried debt. The time since the last run stays: the balance may
/// still pay for it.
///
/// # Errors
/// [`RequestError::StatusConflict`] if nothing is owed, or if a writer without the locks changed the usage.
pub async fn credit_write_off(
    pool: &Database,
    request: &WriteOffRequest,
    key: IdempotencyKey,
) -> Result<WrittenOff, RequestError> {
    run_once(pool, key, async |guard| {
        write_off(pool, request, guard).await
    })
    .await
}

async fn write_off(
    pool: &Database,
    request: &WriteOffRequest,
    guard: &mut IdempotencyGuard,
) -> Result<WrittenOff, RequestError> {
    let organization_id = request.organization_id;
    let mut tx = pool.begin().await?;
    let credit = LockedCredit::take(&mut tx, organization_id).await?;
    let debt = Debt::read(&mut tx, credit).await?;
    let owed = debt.amount();
    if !owed.is_positive() {
        return Err(StatusConflict("The organization owes nothing").into());
    }
    debt.clear(&mut tx, credit).await?;
    let entry = NewEntry {
        organization_id,
        entry_type: EntryType::WriteOff,
        amount: Money::ZERO,
        balance_before: credit.balance,
        period: debt.period(),
        detail: Some(json!({"who": request.admin_id, "reason": request.reason, "worth": owed})),
    };
    let position = db::billing::ledger::entry_append(&mut tx, entry, credit.now).await?;
    let transaction_id = ledger_transaction_id(position);
    let action = AuditEntry {
        user_id: request.admin_id,
        action: "credit.write_off",
        subject: &organization_id.to_string(),
        details: json!({"worth": owed, "reason": request.reason, "transactionId": transaction_id}),
        result: "written off",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, credit.now).await?;
    let written_off = WrittenOff {
        transaction_id,
        written_off: owed.to_decimal(),
        balance: credit.balance.to_decimal(),
    };
    guard.complete(&mut tx, &written_off).await?;
    tx.commit().await?;
    Ok(written_off)
}

/// All that an organization owes.
struct Debt {
    carried: Money,
    /// The spans of which something is not charged.
    spans: Vec<Span>,
    /// The hour up to which a run has decided the organization.
    through: DateTime<Utc>,
}

impl Debt {
    /// Reads it under the locks of the organization and of its agents: a writer that is ending a span holds the lock of
    /// its agent.
    async fn read(conn: &mut Connection, credit: LockedCredit) -> Result<Self, sqlx::Error> {
        let organization_id = credit.organization_id;
        db::agents::billing::agents_lock(conn, &[organization_id]).await?;
        let account = db::billing::accounts::account_find(conn, organization_id).await?;
        let decided_through = account.and_then(|account| account.decided_through);
        // No span begins before it, so that nothing is written off before the first run.
        let through = decided_through.unwrap_or(DateTime::UNIX_EPOCH);
        let mut spans = uncharged(conn, organization_id, account.as_slice(), through).await?;
        if cut_at_price_changes(conn, organization_id, &spans, through).await? {
            spans = uncharged(conn, organization_id, account.as_slice(), through).await?;
        }
        Ok(Self {
            carried: account.map_or(Money::ZERO, |account| account.carried_debt),
            spans,
            through,
        })
    }

    fn amount(&self) -> Money {
        let uncharged: Money = self
            .spans
            .iter()
            .map(|span| span.uncharged(self.through))
            .sum();
        self.carried + uncharged
    }

    /// The time that is written off; `None` if there is only carried debt.
    fn period(&self) -> Option<EntryPeriod> {
        let agents: HashSet<AgentId> = self.spans.iter().map(|span| span.agent_id).collect();
        Some(EntryPeriod {
            start: self.spans.iter().map(|span| span.mark).min()?,
            end: self.spans.iter().map(|span| span.end(self.through)).max()?,
            agents: agents.len(),
        })
    }

    /// Cuts what is owed out of the spans.
    async fn clear(&self, conn: &mut Connection, credit: LockedCredit) -> Result<(), RequestError> {
        let cuts: Vec<SpanCut> = self
            .spans
            .iter()
            .map(|span| SpanCut {
                id: span.id,
                start: span.mark,
                end: span.end(self.through),
            })
            .collect();
        let cut =
            db::billing::spans::spans_cut_of_any_organization(conn, &cuts, "written off").await?;
        if cut != cuts.len() {
            // A writer that does not take the locks has moved a span.
            let refusal = "The organization's usage changed in the meantime; try again";
            return Err(StatusConflict(refusal).into());
        }
        db::billing::debts::carried_debt_clear(conn, credit.opening()).await?;
        Ok(())
    }
}

/// The spans of which something up to `through` is not charged.
async fn uncharged(
    conn: &mut Connection,
    organization_id: OrganizationId,
    account: &[BillingAccount],
    through: DateTime<Utc>,
) -> Result<Vec<Span>, sqlx::Error> {
    let spans =
        db::billing::spans::spans_uncharged(conn, &[organization_id], account, through).await?;
    let spans = spans.into_iter().map(|owned| owned.span);
    Ok(spans.filter(|span| span.mark < span.end(through)).collect())
}

/// Cuts the spans where the list price changed since the oldest of their marks, as a run does before it charges. Returns
/// whether there was such a change.
async fn cut_at_price_changes(
    conn: &mut Connection,
    organization_id: OrganizationId,
    spans: &[Span],
    through: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let Some(oldest) = spans.iter().map(|span| span.mark).min() else {
        return Ok(false);
    };
    let changes = db::billing::metering::price_changes(conn, oldest, through).await?;
    for valid_from in &changes {
        db::billing::metering::spans_cut_at_price_change(conn, &[organization_id], *valid_from)
            .await?;
    }
    Ok(!changes.is_empty())
}
