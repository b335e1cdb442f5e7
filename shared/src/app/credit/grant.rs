//! An operator gives an organization credit: the balance, the ledger row and the audit log, at once.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::idempotency::{Begun, Once, Repeatable, begin};
use crate::db;
use crate::db::requests::audit_log::Action;
use crate::db::billing::ledger::Grant;
use crate::domain::agent::NotNow;
use crate::domain::money::Money;

/// What is given.
#[derive(Clone, Debug)]
pub struct Gift {
    /// By whom.
    pub admin_id: Uuid,
    /// To whom.
    pub organization_id: Uuid,
    /// How much; more than nothing.
    pub amount: Money,
    /// What for.
    pub reason: String,
}

/// What was given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Granted {
    /// The ledger row.
    pub transaction_id: Uuid,
    /// The credit now, in dollars.
    pub balance: rust_decimal::Decimal,
}

/// Gives credit.
///
/// # Errors
/// [`RequestError`]; then nothing was given.
pub async fn credit_grant(
    pool: &PgPool,
    gift: &Gift,
    repeatable: Repeatable,
) -> Result<Granted, RequestError> {
    let mut once = match begin(pool, repeatable).await? {
        Begun::Again(granted) => return Ok(granted),
        Begun::First(once) => once,
    };
    let result = grant(pool, gift, &mut once).await;
    once.settle(pool, result).await
}

async fn grant(pool: &PgPool, gift: &Gift, once: &mut Once) -> Result<Granted, RequestError> {
    let mut tx = pool.begin().await?;
    let locked = db::identity::organizations::organizations_lock(&mut tx, &[gift.organization_id]).await?;
    let organization = locked
        .first()
        .ok_or(RequestError::NotFound("Organization not found"))?;
    let before = organization
        .balance
        .ok_or(NotNow("The organization's balance is no valid amount"))?;
    let taken = [(-gift.amount).to_decimal()];
    let now = db::clock::billing_clock(&mut tx).await?;
    db::identity::organizations::organizations_debit(&mut tx, &[gift.organization_id], &taken).await?;
    let row = Grant {
        organization_id: gift.organization_id,
        user_id: gift.admin_id,
        amount: gift.amount,
        reason: &gift.reason,
        before,
    };
    let transaction_id = db::billing::ledger::ledger_grant(&mut tx, &row, now).await?;
    let action = Action {
        user_id: gift.admin_id,
        action: "credit.grant",
        subject: &gift.organization_id.to_string(),
        details: json!({
            "amount": gift.amount, "reason": gift.reason, "transactionId": transaction_id,
        }),
        result: "granted",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    let granted = Granted {
        transaction_id,
        balance: (before + gift.amount).to_decimal(),
    };
    once.complete(&mut tx, &granted).await?;
    tx.commit().await?;
    Ok(granted)
}
