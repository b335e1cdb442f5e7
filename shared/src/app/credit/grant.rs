//! An operator grants an organization credit. The balance, the ledger and the audit log change in one
//! transaction.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::locked::LockedCredit;
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::Database;
use crate::db::billing::ledger::{EntryType, MirroredCredit, NewEntry};
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::ids::{OrganizationId, TransactionId, UserId};
use crate::domain::money::Money;

#[derive(Clone, Debug)]
pub struct GrantRequest {
    pub admin_id: UserId,
    pub organization_id: OrganizationId,
    /// More than zero.
    pub amount: Money,
    pub reason: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantedCredit {
    pub transaction_id: TransactionId,
    /// Dollars, after the grant.
    pub balance: Decimal,
}

pub async fn credit_grant(
    pool: &Database,
    request: &GrantRequest,
    key: IdempotencyKey,
) -> Result<GrantedCredit, RequestError> {
    run_once(pool, key, async |guard| grant(pool, request, guard).await).await
}

async fn grant(
    pool: &Database,
    request: &GrantRequest,
    guard: &mut IdempotencyGuard,
) -> Result<GrantedCredit, RequestError> {
    let organization_id = request.organization_id;
    let mut tx = pool.begin().await?;
    let credit = LockedCredit::take(&mut tx, organization_id).await?;
    // A grant is a negative debit.
    let debit = [(-request.amount).to_decimal()];
    db::identity::organizations::organizations_debit(&mut tx, &[organization_id], &debit).await?;
    let entry = NewEntry {
        organization_id,
        entry_type: EntryType::Grant,
        amount: request.amount,
        balance_before: credit.balance,
        period: None,
        detail: Some(json!({"who": request.admin_id, "reason": request.reason})),
    };
    let mirrored = MirroredCredit {
        organization_id,
        user_id: request.admin_id,
        position: db::billing::ledger::entry_append(&mut tx, entry, credit.now).await?,
        amount: request.amount,
        entry_type: EntryType::Grant,
        reason: &request.reason,
    };
    let transaction_id = db::billing::ledger::credit_mirror(&mut tx, &mirrored).await?;
    let action = AuditEntry {
        user_id: request.admin_id,
        action: "credit.grant",
        subject: &organization_id.to_string(),
        details: json!({
            "amount": request.amount, "reason": request.reason, "transactionId": transaction_id,
        }),
        result: "granted",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, credit.now).await?;
    let granted = GrantedCredit {
        transaction_id,
        balance: (credit.balance + request.amount).to_decimal(),
    };
    guard.complete(&mut tx, &granted).await?;
    tx.commit().await?;
    Ok(granted)
}
