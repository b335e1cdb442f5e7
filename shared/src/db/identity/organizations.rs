//! `organizations`. Owns: the row lock that every transaction about money holds, and relative changes of the balance.

use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

#[derive(Clone, Copy, Debug)]
pub struct LockedOrganization {
    pub id: OrganizationId,
    /// `None` if the row holds no valid amount (negative or not a number).
    pub balance: Option<Money>,
    /// Whether it may use the service.
    pub is_active: bool,
}

/// Locks organizations in the order of their ids. Ids without a row are left out.
pub async fn organizations_lock(
    conn: &mut Connection,
    ids: &[OrganizationId],
) -> sqlx::Result<Vec<LockedOrganization>> {
    let rows = sql!(query!(
        "SELECT id, "
            + VALID_BALANCE
            + " AS balance, is_active
        FROM public.organizations WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        ids as &[OrganizationId]
    ))
    .fetch_all(conn)
    .await?;
    let organizations = rows.into_iter().map(|row| LockedOrganization {
        id: row.id,
        balance: row.balance.map(Money::rounded),
        is_active: row.is_active,
    });
    Ok(organizations.collect())
}

/// Subtracts amounts from balances by relative changes, under the locks that are held.
///
/// # Errors
/// A check constraint forbids balances below zero.
pub async fn organizations_debit(
    conn: &mut Connection,
    ids: &[OrganizationId],
    amounts: &[Decimal],
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE public.organizations o SET credit_balance = o.credit_balance - c.amount
        FROM UNNEST($1::uuid[], $2::numeric[]) AS c (id, amount) WHERE o.id = c.id",
        ids as &[OrganizationId],
        amounts
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// `None` if there is no such organization, or its row holds no valid amount.
pub async fn organization_balance(
    conn: &mut Connection,
    id: OrganizationId,
) -> sqlx::Result<Option<Money>> {
    let balance = sql!(query_scalar!(
        "SELECT " + VALID_BALANCE + " FROM public.organizations WHERE id = $1",
        id.uuid()
    ))
    .fetch_optional(conn)
    .await?;
    Ok(balance.flatten().map(Money::rounded))
}
