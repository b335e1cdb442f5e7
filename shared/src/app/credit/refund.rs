//! An operator takes back credit, because a purchase was refunded or disputed. The balance, the ledger, the carried
//! debt and the audit log change in one transaction.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::locked::LockedCredit;
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::billing::ledger::{EntryType, MirroredCredit, NewEntry};
use crate::db::requests::audit_log::AuditEntry;
use crate::db::{Connection, Database};
use crate::domain::ids::{OrganizationId, TransactionId, UserId, ledger_transaction_id};
use crate::domain::money::Money;

#[derive(Clone, Debug)]
pub struct RefundRequest {
    pub admin_id: UserId,
    pub organization_id: OrganizationId,
    /// More than zero.
    pub amount: Money,
    pub reason: String,
}

/// All amounts are in dollars.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefundedCredit {
    pub transaction_id: TransactionId,
    /// What was taken from the balance.
    pub refunded: Decimal,
    /// All that the organization owes because of this refund and earlier ones.
    pub carried_debt: Decimal,
    /// After the refund.
    pub balance: Decimal,
}

/// Takes back credit up to the balance. The rest becomes carried debt, which billing runs charge before anything else.
pub async fn credit_refund(
    pool: &Database,
    request: &RefundRequest,
    key: IdempotencyKey,
) -> Result<RefundedCredit, RequestError> {
    run_once(pool, key, async |guard| refund(pool, request, guard).await).await
}

async fn refund(
    pool: &Database,
    request: &RefundRequest,
    guard: &mut IdempotencyGuard,
) -> Result<RefundedCredit, RequestError> {
    let mut tx = pool.begin().await?;
    let credit = LockedCredit::take(&mut tx, request.organization_id).await?;
    let taken = request.amount.min(credit.balance);
    let carried = request.amount - taken;
    let transaction_id = append(&mut tx, request, credit, taken).await?;
    // Also without a rest: the sum is part of the answer.
    let carried_debt =
        db::billing::debts::carried_debt_add(&mut tx, credit.opening(), carried).await?;
    let action = AuditEntry {
        user_id: request.admin_id,
        action: "credit.refund",
        subject: &request.organization_id.to_string(),
        details: json!({
            "amount": request.amount, "refunded": taken, "carried": carried, "reason": request.reason,
            "transactionId": transaction_id,
        }),
        result: "refunded",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, credit.now).await?;
    let refunded = RefundedCredit {
        transaction_id,
        refunded: taken.to_decimal(),
        carried_debt: carried_debt.to_decimal(),
        balance: (credit.balance - taken).to_decimal(),
    };
    guard.complete(&mut tx, &refunded).await?;
    tx.commit().await?;
    Ok(refunded)
}

/// Takes `taken` from the balance, and says so in both ledgers. A refund of which nothing is taken has an entry, too.
async fn append(
    conn: &mut Connection,
    request: &RefundRequest,
    credit: LockedCredit,
    taken: Money,
) -> Result<TransactionId, RequestError> {
    let organization_id = credit.organization_id;
    let entry = NewEntry {
        organization_id,
        entry_type: EntryType::Refund,
        amount: -taken,
        balance_before: credit.balance,
        period: None,
        detail: Some(json!({
            "who": request.admin_id, "reason": request.reason, "carried": request.amount - taken,
        })),
    };
    let position = db::billing::ledger::entry_append(conn, entry, credit.now).await?;
    if !taken.is_positive() {
        return Ok(ledger_transaction_id(position));
    }
    let debit = [taken.to_decimal()];
    db::identity::organizations::organizations_debit(conn, &[organization_id], &debit).await?;
    let mirrored = MirroredCredit {
        organization_id,
        user_id: request.admin_id,
        position,
        amount: -taken,
        entry_type: EntryType::Refund,
        reason: &request.reason,
    };
    Ok(db::billing::ledger::credit_mirror(conn, &mirrored).await?)
}
