//! `organizations`. Owns: the row lock that everything about money holds, and relative changes of
//! the balance.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::money::Money;

/// An organization under its lock.
#[derive(Clone, Copy, Debug)]
pub struct Locked {
    /// The organization.
    pub id: Uuid,
    /// Its credit; none where the row holds no valid amount (negative or not a number).
    pub balance: Option<Money>,
}

/// Locks organizations in the order of their ids. Ids without a row are left out.
///
/// # Errors
/// Database errors.
pub async fn organizations_lock(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> sqlx::Result<Vec<Locked>> {
    let rows = sqlx::query!(
        r#"SELECT id, CASE WHEN credit_balance >= 0 AND credit_balance <> 'NaN'
            THEN credit_balance END AS balance
        FROM organizations WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Locked {
            id: row.id,
            balance: row.balance.map(Money::rounded),
        })
        .collect())
}

/// Takes amounts off balances, each by a relative change under the lock held.
///
/// # Errors
/// Database errors, among them the check that no balance goes below zero.
pub async fn organizations_debit(
    conn: &mut PgConnection,
    ids: &[Uuid],
    amounts: &[Decimal],
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE organizations o SET credit_balance = o.credit_balance - c.amount
        FROM UNNEST($1::uuid[], $2::numeric[]) AS c (id, amount) WHERE o.id = c.id",
        ids,
        amounts
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// An organization's credit; none where there is no such organization or no valid amount.
///
/// # Errors
/// Database errors.
pub async fn organization_balance(
    conn: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<Money>> {
    let balance = sqlx::query_scalar!(
        r#"SELECT CASE WHEN credit_balance >= 0 AND credit_balance <> 'NaN'
            THEN credit_balance END FROM organizations WHERE id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(balance.flatten().map(Money::rounded))
}
