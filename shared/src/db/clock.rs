//! `billing_clock()`, the one clock of billing. Owns: reading it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

pub async fn billing_clock(conn: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"SELECT billing_clock() AS "now!""#)
        .fetch_one(conn)
        .await
}

#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// The time of billing's clock.
    pub now: DateTime<Utc>,
    /// Whether this is an older biller's deployment that is not adopted yet. Until then its own worker may still run.
    pub adoption_required: bool,
}

pub async fn readiness(conn: &mut PgConnection) -> sqlx::Result<Readiness> {
    sqlx::query_as!(
        Readiness,
        r#"SELECT billing_clock() AS "now!",
            EXISTS (SELECT FROM billing_adoption WHERE required AND adopted_at IS NULL)
                AS "adoption_required!""#
    )
    .fetch_one(conn)
    .await
}
