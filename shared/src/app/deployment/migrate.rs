//! Applies the migrations, to an empty database or over an existing deployment. Owns: that only one process migrates,
//! that a locked table is waited for, and that a half-built index is rebuilt.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::db::settings::wrong_settings;
use crate::db::{self, DatabaseFailure};

/// Not sqlx's default, which another application's migrations on the same database may use.
const TABLE: &str = "cloud.migrations";
/// The key of the advisory lock: any fixed number. The lock is polled, because a session that waits for it inside the
/// server holds a snapshot, and `CREATE INDEX CONCURRENTLY` waits for snapshots to end.
const LOCK: i64 = 0x6d69_6c61_6479;
/// Of the session, from its start. A pooler refuses them or loses them. Nothing in `public` can stand in for a name of
/// the migrations, which are all qualified.
const SETTINGS: [(&str, &str); 5] = [
    ("search_path", "pg_catalog, pg_temp"),
    ("TimeZone", "UTC"),
    // Of a concurrent index, for which nobody waits; the other migrations set their own.
    ("lock_timeout", "5min"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "1min"),
];
/// A migration waits a second for a table. Meanwhile whoever writes the table waits behind it.
const MAX_ATTEMPTS: u32 = 60;
/// A server that nobody can reach drops packets for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
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
    #[error("the database did not answer within 10 seconds")]
    Unreachable,
    /// A pooler gives the locks and settings of the session to others.
    #[error("OWNER_DATABASE_URL must lead directly to the server, not through a pooler")]
    Pooler,
    /// Whoever owns the schema can replace what the functions run.
    #[error("the schema \"cloud\" belongs to another role")]
    ForeignSchema,
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
    #[error("migration {version} cannot be applied ({})", db::error_class(source))]
    Failed { version: i64, source: sqlx::Error },
    /// Another version of this program migrated the database.
    #[error("the migrations applied to this database are not the ones this version knows")]
    Foreign(#[source] MigrateError),
}

/// Applies the missing migrations. Safe to repeat and to run concurrently. After an error, the migrations that were
/// applied stay.
///
/// Connects directly, as the owner: an index is built concurrently outside of a transaction, under a lock of the
/// session.
pub async fn migrate(options: &PgConnectOptions) -> Result<MigrationCounts, MigrationError> {
    let mut conn = connect(options).await?;
    lock(&mut conn).await?;
    // The lock ends with the session.
    let result = apply(&mut conn).await;
    conn.close().await?;
    result
}

/// Connects with [`SETTINGS`], which shows whether a pooler stands between.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, MigrationError> {
    let options = options.clone().options(SETTINGS);
    let connected = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await;
    let mut conn = match connected.map_err(|_| MigrationError::Unreachable)? {
        Err(error) if is_refused_parameter(&error) => return Err(MigrationError::Pooler),
        connected => connected?,
    };
    let wrong = wrong_settings(&mut conn, &SETTINGS).await?;
    if wrong.is_empty() {
        Ok(conn)
    } else {
        Err(MigrationError::Pooler)
    }
}

/// `PgBouncer` and RDS Proxy answer "unsupported startup parameter", a violation of the protocol.
fn is_refused_parameter(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == "08P01")
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
    create_schema(conn).await?;
    let applied_before = applied(conn).await?;
    for attempt in 1..=MAX_ATTEMPTS {
        let result = match drop_half_built_indexes(conn, &migrator).await {
            Ok(()) => migrator.run_direct(None, conn, false).await,
            Err(error) => Err(MigrateError::Execute(error)),
        };
        match result {
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

/// Creates the schema of what belongs to this product alone, also of the record of the migrations.
async fn create_schema(conn: &mut PgConnection) -> Result<(), MigrationError> {
    sqlx::raw_sql("CREATE SCHEMA IF NOT EXISTS cloud")
        .execute(&mut *conn)
        .await?;
    let is_own = sqlx::query_scalar!(
        r#"SELECT pg_get_userbyid(nspowner) = current_user AS "is_own!" FROM pg_namespace
        WHERE nspname = 'cloud'"#
    )
    .fetch_one(&mut *conn)
    .await?;
    if is_own {
        Ok(())
    } else {
        Err(MigrationError::ForeignSchema)
    }
}

/// The number of migrations that are applied.
async fn applied(conn: &mut PgConnection) -> Result<usize, sqlx::Error> {
    let table_exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(TABLE)
        .fetch_one(&mut *conn)
        .await?;
    if !table_exists {
        return Ok(0);
    }
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT count(*) FROM {TABLE} WHERE success"
    )))
    .fetch_one(&mut *conn)
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
        r#"SELECT c.oid::regclass::text AS "name!" FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        WHERE NOT i.indisvalid AND c.relname = ANY($1)
            AND c.relnamespace IN ('public'::regnamespace, 'cloud'::regnamespace)"#,
        &concurrent_indexes
    )
    .fetch_all(&mut *conn)
    .await?;
    for name in invalid {
        let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    Ok(())
}
