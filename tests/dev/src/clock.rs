//! Moves the billing clock: in a test database, `billing_clock()` reads a row that tests can
//! change.
//!
//! In production the function is `clock_timestamp()`, as the migrations create it.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

/// Replaces `billing_clock()` in the pool's database with a clock that stands still at `at`, and makes the
/// partitions of that time. The role must own the function.
pub async fn install(pool: &PgPool, at: DateTime<Utc>) -> sqlx::Result<()> {
    install_alone(pool, at).await?;
    sqlx::query("SELECT cloud.ensure_partitions($1)")
        .bind(at)
        .execute(pool)
        .await
        .map(drop)
}

/// Like [`install`], without partitions.
pub async fn install_alone(pool: &PgPool, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS cloud.dev_clock (
             only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
             now_at timestamptz NOT NULL
         );
         CREATE OR REPLACE FUNCTION cloud.billing_clock() RETURNS timestamptz
         LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
         AS 'SELECT now_at FROM cloud.dev_clock'",
    )
    .execute(pool)
    .await?;
    set(pool, at).await
}

pub async fn set(pool: &PgPool, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO cloud.dev_clock (now_at) VALUES ($1)
         ON CONFLICT (only_row) DO UPDATE SET now_at = excluded.now_at",
    )
    .bind(at)
    .execute(pool)
    .await
    .map(drop)
}

/// The time of `billing_clock()`, whether or not a movable clock is installed.
pub async fn now(pool: &PgPool) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("SELECT cloud.billing_clock()")
        .fetch_one(pool)
        .await
}
