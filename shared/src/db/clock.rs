//! `cloud.billing_clock()`, the one clock of billing, and when the server was started. Owns: reading them.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;

pub async fn billing_clock(conn: &mut Connection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"SELECT cloud.billing_clock() AS "now!""#)
        .fetch_one(conn)
        .await
}

/// When the server was started, to the microsecond: by that a running server can be recognized at any address.
pub async fn server_start(conn: &mut Connection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("SELECT pg_catalog.pg_postmaster_start_time()")
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

pub async fn readiness(conn: &mut Connection) -> sqlx::Result<Readiness> {
    sqlx::query_as!(
        Readiness,
        r#"SELECT cloud.billing_clock() AS "now!",
            EXISTS (SELECT FROM cloud.billing_adoption WHERE required AND adopted_at IS NULL)
                AS "adoption_required!""#
    )
    .fetch_one(conn)
    .await
}
