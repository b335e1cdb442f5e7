//! `billing_accounts`. Owns: what the tick has decided per organization. Guarded by the
//! organization's lock.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

/// An organization's account; the fields are empty where it has none yet.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// Whose.
    pub organization_id: Uuid,
    /// The last tick that decided it.
    pub decided_through: Option<DateTime<Utc>>,
    /// Since when its credit has been low.
    pub low_since: Option<DateTime<Utc>>,
}

/// Reads accounts, and billing's clock in the same statement: read after the locks are held, so
/// that the history of one organization is in the order of its clock.
///
/// # Errors
/// Database errors.
pub async fn accounts_read(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> sqlx::Result<(DateTime<Utc>, Vec<Account>)> {
    let rows = sqlx::query!(
        r#"SELECT clock.now AS "now!", a.organization_id AS "organization_id?", a.decided_through,
            a.low_since
        FROM (SELECT billing_clock() AS now) AS clock
        LEFT JOIN billing_accounts a ON a.organization_id = ANY($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    let now = rows
        .first()
        .map(|row| row.now)
        .ok_or(sqlx::Error::RowNotFound)?;
    let accounts = rows.into_iter().filter_map(|row| {
        Some(Account {
            organization_id: row.organization_id?,
            decided_through: row.decided_through,
            low_since: row.low_since,
        })
    });
    Ok((now, accounts.collect()))
}

/// Columns of accounts to be written, all of one length.
#[derive(Debug, Default)]
pub struct Decided {
    /// Whose.
    pub organization_ids: Vec<Uuid>,
    /// Since when their credit has been low.
    pub low_since: Vec<Option<DateTime<Utc>>>,
    /// Their balance before this transaction: where a new account begins.
    pub opening_balances: Vec<Decimal>,
}

/// Records that a tick decided these organizations, and opens accounts that were missing.
///
/// # Errors
/// Database errors.
pub async fn accounts_decide(
    conn: &mut PgConnection,
    through: DateTime<Utc>,
    now: DateTime<Utc>,
    decided: &Decided,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO billing_accounts
            (organization_id, decided_through, low_since, opening_balance, opened_at)
        SELECT d.id, $1, d.low_since, d.opening, $2
        FROM UNNEST($3::uuid[], $4::timestamptz[], $5::numeric[]) AS d (id, low_since, opening)
        ON CONFLICT (organization_id) DO UPDATE
        SET decided_through = excluded.decided_through, low_since = excluded.low_since",
        through,
        now,
        &decided.organization_ids,
        &decided.low_since as &[Option<DateTime<Utc>>],
        &decided.opening_balances
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The last tick that decided an organization.
///
/// # Errors
/// Database errors.
pub async fn account_decided_through(
    conn: &mut PgConnection,
    organization_id: Uuid,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let decided = sqlx::query_scalar!(
        "SELECT decided_through FROM billing_accounts WHERE organization_id = $1",
        organization_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(decided.flatten())
}
