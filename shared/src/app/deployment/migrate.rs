//! Applies the migrations, to an empty database or over an existing deployment. Owns: that only one process migrates,
//! that a locked table is waited for, and that a half-built index is rebuilt.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tracing::{info, warn};

use crate::db::{self, DatabaseFailure};

/// Not sqlx's default, which another application's migrations on the same database may use.
const TABLE: &str = "milady_control_plane_migrations";
/// The key of the advisory lock: any fixed number. The lock is polled, because a session that waits for it inside the
/// server holds a snapshot, and `CREATE INDEX CONCURRENTLY` waits for snapshots to end.
const LOCK: i64 = 0x6d69_6c61_6479;
const MAX_ATTEMPTS: u32 = 20;
const RETRY_AFTER: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationCounts {
    /// Migrations that this call applied.
    pub applied: usize,
    /// Migrations that this version knows.
    pub total: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error("another process holds a lock that the migrations need; try again")]
    Busy,
    #[error("the database did not answer ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
    #[error("migration {version} cannot be applied ({})", db::error_class(source))]
    Failed { version: i64, source: sqlx::Error },
    /// Another version of this program migrated the database.
    #[error("the migrations applied to this database are not the ones this version knows")]
    Foreign(#[source] MigrateError),
}

/// Applies the missing migrations. Safe to repeat and to run concurrently. After an error, the migrations that were
/// applied stay.
pub async fn migrate(conn: &mut PgConnection) -> Result<MigrationCounts, MigrationError> {
    lock(conn).await?;
    let result = apply(conn).await;
    // If unlocking fails, the lock ends with the session.
    let _ = sqlx::query_scalar!("SELECT pg_advisory_unlock($1)", LOCK)
        .fetch_one(conn)
        .await;
    result
}

async fn lock(conn: &mut PgConnection) -> Result<(), MigrationError> {
    for _ in 0..MAX_ATTEMPTS {
        let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "locked!""#, LOCK)
            .fetch_one(&mut *conn)
            .await?;
        if locked {
            return Ok(());
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
    Err(MigrationError::Busy)
}

async fn apply(conn: &mut PgConnection) -> Result<MigrationCounts, MigrationError> {
    let mut migrator = sqlx::migrate!("../migrations");
    migrator.dangerous_set_table_name(TABLE);
    migrator.set_locking(false);
    let applied_before = applied(conn).await?;
    for attempt in 1..=MAX_ATTEMPTS {
        drop_half_built_indexes(conn, &migrator).await?;
        match migrator.run_direct(None, conn, false).await {
            Ok(()) => {
                let total = migrator.iter().count();
                let applied = applied(conn).await?.saturating_sub(applied_before);
                info!(applied, total, "applied {applied} of {total} migrations");
                return Ok(MigrationCounts { applied, total });
            }
            Err(error) => {
                let error = conflict(error)?;
                warn!(
                    attempt,
                    error = db::error_class(&error),
                    "migration lost a lock conflict and is repeated"
                );
            }
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
    Err(MigrationError::Busy)
}

/// Returns a lock conflict, after which the migrations are tried again. Other errors are final.
fn conflict(error: MigrateError) -> Result<sqlx::Error, MigrationError> {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if db::classify(&error) == DatabaseFailure::Conflict =>
        {
            Ok(error)
        }
        MigrateError::ExecuteMigration(source, version)
            if db::classify(&source) != DatabaseFailure::Unavailable =>
        {
            Err(MigrationError::Failed { version, source })
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Err(error.into())
        }
        error => Err(MigrationError::Foreign(error)),
    }
}

/// The number of migrations that are applied.
async fn applied(conn: &mut PgConnection) -> Result<usize, sqlx::Error> {
    let mut tx = conn.begin().await?;
    let table_exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(TABLE)
        .fetch_one(&mut *tx)
        .await?;
    if !table_exists {
        return Ok(0);
    }
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT count(*) FROM {TABLE} WHERE success"
    )))
    .fetch_one(&mut *tx)
    .await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// An interrupted `CREATE INDEX CONCURRENTLY` leaves an invalid index behind, and `CREATE INDEX IF NOT EXISTS` would
/// then keep it.
async fn drop_half_built_indexes(
    conn: &mut PgConnection,
    migrator: &Migrator,
) -> Result<(), sqlx::Error> {
    let concurrent_indexes: Vec<String> = migrator
        .iter()
        .filter(|migration| migration.no_tx)
        .filter_map(|migration| {
            let (_, rest) = migration.sql.as_str().split_once("IF NOT EXISTS ")?;
            rest.split_whitespace().next().map(str::to_owned)
        })
        .collect();
    let invalid = sqlx::query_scalar!(
        r#"SELECT quote_ident(c.relname) AS "name!" FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        WHERE NOT i.indisvalid AND c.relname = ANY($1)
            AND c.relnamespace = 'public'::regnamespace"#,
        &concurrent_indexes
    )
    .fetch_all(&mut *conn)
    .await?;
    for name in invalid {
        let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS public.{name}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    Ok(())
}
