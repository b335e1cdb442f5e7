//! What operators change in `billing_accounts`. Does not own: what a run changes (`accounts`). The caller holds the
//! organization's lock, and writes an entry at `now` in the same transaction.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

/// An organization as it was before the transaction. An account that is missing is opened with it.
#[derive(Clone, Copy, Debug)]
pub struct AccountOpening {
    pub organization_id: OrganizationId,
    pub balance: Money,
    /// Of billing's clock.
    pub now: DateTime<Utc>,
}

/// Adds to an organization's carried debt. Returns the sum.
pub async fn carried_debt_add(
    conn: &mut Connection,
    opening: AccountOpening,
    amount: Money,
) -> sqlx::Result<Money> {
    let sum = sqlx::query_scalar!(
        "INSERT INTO cloud.billing_accounts AS a (organization_id, carried_debt, opening_balance, opened_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (organization_id) DO UPDATE SET carried_debt = a.carried_debt + excluded.carried_debt
        RETURNING carried_debt",
        opening.organization_id.uuid(),
        amount.to_decimal(),
        opening.balance.to_decimal(),
        opening.now
    )
    .fetch_one(conn)
    .await?;
    Ok(Money::rounded(sum))
}

/// Records that an organization carries no debt.
pub async fn carried_debt_clear(
    conn: &mut Connection,
    opening: AccountOpening,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.billing_accounts (organization_id, opening_balance, opened_at) VALUES ($1, $2, $3)
        ON CONFLICT (organization_id) DO UPDATE SET carried_debt = 0",
        opening.organization_id.uuid(),
        opening.balance.to_decimal(),
        opening.now
    )
    .execute(conn)
    .await?;
    Ok(())
}
