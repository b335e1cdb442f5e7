//! `billing_clock()`, the one clock of billing. Owns: reading it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// What time it is for billing.
///
/// # Errors
/// Database errors.
pub async fn billing_clock(conn: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"SELECT billing_clock() AS "now!""#)
        .fetch_one(conn)
        .await
}

/// What time it is for billing, and whether an older biller's deployment still waits to be adopted.
///
/// # Errors
/// Database errors.
pub async fn readiness(conn: &mut PgConnection) -> sqlx::Result<(DateTime<Utc>, bool)> {
    let row = sqlx::query!(
        r#"SELECT billing_clock() AS "now!",
            EXISTS (SELECT FROM billing_adoption WHERE required AND adopted_at IS NULL)
                AS "adoption_required!""#
    )
    .fetch_one(conn)
    .await?;
    Ok((row.now, row.adoption_required))
}
