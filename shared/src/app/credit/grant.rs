//! An operator grants an organization credit. The balance, the ledger row and the audit log change in one
//! transaction.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::Database;
use crate::db::billing::ledger::{EntryType, MirroredCredit, NewEntry};
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::agent::StatusConflict;
use crate::domain::ids::{LedgerPosition, OrganizationId, TransactionId, UserId};
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
    let locked =
        db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let organization = locked
        .first()
        .ok_or(RequestError::NotFound("Organization not found"))?;
    let balance_before = organization.balance.ok_or(StatusConflict(
        "The organization's balance is not a valid amount",
    ))?;
    let now = db::clock::billing_clock(&mut tx).await?;
    // A grant is a negative debit.
    let debit = [(-request.amount).to_decimal()];
    db::identity::organizations::organizations_debit(&mut tx, &[organization_id], &debit).await?;
    let entry = NewEntry {
        organization_id,
        entry_type: EntryType::Grant,
        amount: request.amount,
        balance_before,
        period: None,
        detail: Some(json!({"who": request.admin_id, "reason": request.reason})),
    };
    let seq = db::billing::ledger::entries_append(&mut tx, &[entry], now).await?;
    let credit = MirroredCredit {
        organization_id,
        user_id: request.admin_id,
        position: LedgerPosition {
            created_at: now,
            seq: seq.first().copied().ok_or(sqlx::Error::RowNotFound)?,
        },
        amount: request.amount,
        row_type: "credit",
        kind: EntryType::Grant,
        reason: &request.reason,
    };
    let transaction_id = db::billing::ledger::credit_mirror(&mut tx, &credit).await?;
    let action = AuditEntry {
        user_id: request.admin_id,
        action: "credit.grant",
        subject: &organization_id.to_string(),
        details: json!({
            "amount": request.amount, "reason": request.reason, "transactionId": transaction_id,
        }),
        result: "granted",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    let granted = GrantedCredit {
        transaction_id,
        balance: (balance_before + request.amount).to_decimal(),
    };
    guard.complete(&mut tx, &granted).await?;
    tx.commit().await?;
    Ok(granted)
}
