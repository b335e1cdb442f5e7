//! Applying the migrations, on an empty database and over an existing deployment. Owns: that only
//! one process migrates, that a busy table is waited for, and that a half-built index is rebuilt.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tracing::{info, warn};

use crate::db::{self, Failure};

/// Our own bookkeeping: another migrator's table on the same database is left alone.
const TABLE: &str = "milady_control_plane_migrations";
/// The advisory lock, any fixed number. Tried, never waited for inside the server: a waiting
/// session would hold a snapshot that `CREATE INDEX CONCURRENTLY` waits for.
const LOCK: i64 = 0x6d69_6c61_6479;
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Migrations applied now.
    pub applied: usize,
    /// Migrations there are.
    pub total: usize,
}

/// Why the migrations are not applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Another process is migrating, or a table stayed busy. Try again.
    #[error("another process holds a lock that the migrations need; try again")]
    Busy,
    /// The database failed.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
    /// A migration cannot be applied: this database is not what it was written for.
    #[error("migration {0} cannot be applied")]
    Failed(i64),
    /// The database was migrated by another version of this program.
    #[error("the migrations applied to this database are not the ones this version knows")]
    Foreign,
}

/// Applies what is missing. Safe to repeat, and to run twice at once.
///
/// # Errors
/// [`MigrationError`]. What was applied before stays.
pub async fn migrate(conn: &mut PgConnection) -> Result<Migrated, MigrationError> {
    lock(conn).await?;
    let result = apply(conn).await;
    // A lock that cannot be given back goes with the session.
    let _ = sqlx::query_scalar!("SELECT pg_advisory_unlock($1)", LOCK)
        .fetch_one(conn)
        .await;
    result
}

async fn lock(conn: &mut PgConnection) -> Result<(), MigrationError> {
    for _ in 0..TRIES {
        let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "locked!""#, LOCK)
            .fetch_one(&mut *conn)
            .await?;
        if locked {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(MigrationError::Busy)
}

async fn apply(conn: &mut PgConnection) -> Result<Migrated, MigrationError> {
    let mut migrator = sqlx::migrate!("../migrations");
    migrator.dangerous_set_table_name(TABLE);
    migrator.set_locking(false);
    let before = applied(conn).await?;
    for attempt in 1..=TRIES {
        drop_half_built_indexes(conn, &migrator).await?;
        match migrator.run_direct(None, conn, false).await {
            Ok(()) => {
                let total = migrator.iter().count();
                let applied = applied(conn).await?.saturating_sub(before);
                info!(applied, total, "migrations are applied");
                return Ok(Migrated { applied, total });
            }
            Err(error) => {
                warn!(
                    attempt,
                    error = class(&error),
                    "a migration was not applied"
                );
                sort(error)?;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(MigrationError::Busy)
}

/// Ok for a lock conflict, which is tried again.
fn sort(error: MigrateError) -> Result<(), MigrationError> {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if db::failure(&error) == Failure::Conflict =>
        {
            Ok(())
        }
        MigrateError::ExecuteMigration(error, version) => {
            if db::failure(&error) == Failure::Unavailable {
                return Err(error.into());
            }
            Err(MigrationError::Failed(version))
        }
        MigrateError::Execute(error) => Err(error.into()),
        _ => Err(MigrationError::Foreign),
    }
}

fn class(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(error) => db::error_class(error),
        MigrateError::ExecuteMigration(error, version) => {
            format!("migration {version}: {}", db::error_class(error))
        }
        _ => "history".to_owned(),
    }
}

async fn applied(conn: &mut PgConnection) -> Result<usize, sqlx::Error> {
    let mut tx = conn.begin().await?;
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(TABLE)
        .fetch_one(&mut *tx)
        .await?;
    if !there {
        return Ok(0);
    }
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT count(*) FROM {TABLE} WHERE success"
    )))
    .fetch_one(&mut *tx)
    .await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// `CREATE INDEX CONCURRENTLY` that was interrupted leaves an invalid index, which `IF NOT EXISTS`
/// would take for the real one.
async fn drop_half_built_indexes(
    conn: &mut PgConnection,
    migrator: &Migrator,
) -> Result<(), sqlx::Error> {
    let ours: Vec<String> = migrator
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
        &ours
    )
    .fetch_all(&mut *conn)
    .await?;
    for name in invalid {
        let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS public.{name}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    Ok(())
}
