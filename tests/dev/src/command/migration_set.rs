//! Data that another version of the migrations left. Before the first release the migrations are rewritten, so such data
//! cannot be carried over.

use anyhow::Result;
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use crate::build;

/// Whether a database was migrated by migrations that this version does not have.
pub(super) async fn is_of_another_set(url: &str) -> Result<bool> {
    let mut conn = PgConnection::connect(url).await?;
    let state: (bool, bool) = sqlx::query_as(
        "SELECT to_regclass('cloud.migrations') IS NOT NULL, to_regclass('public.organizations') IS NOT NULL",
    )
    .fetch_one(&mut conn)
    .await?;
    let (is_migrated, has_tables) = state;
    if !is_migrated {
        return Ok(has_tables);
    }
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT version, checksum FROM cloud.migrations")
            .fetch_all(&mut conn)
            .await?;
    conn.close().await?;
    let migrator = Migrator::new(build::workspace().join("migrations").as_path()).await?;
    Ok(applied.iter().any(|(version, checksum)| {
        !migrator.iter().any(|known| {
            known.version == *version && known.checksum.as_ref() == checksum.as_slice()
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Options, Server};

    #[tokio::test]
    async fn data_of_other_migrations_are_recognized() {
        let dir = std::env::temp_dir().join(format!("milady-set-{}", std::process::id()));
        let options = Options {
            dir,
            durable: false,
            keep: false,
        };
        let server = Server::start(options).await.unwrap();
        server.create_database("data", None).await.unwrap();
        let url = server.url("data");
        assert!(!is_of_another_set(&url).await.unwrap(), "empty");
        let mut conn = PgConnection::connect(&url).await.unwrap();
        let mut migrator = Migrator::new(build::workspace().join("migrations").as_path())
            .await
            .unwrap();
        migrator.set_locking(false);
        migrator.dangerous_set_table_name("cloud.migrations");
        sqlx::raw_sql("CREATE SCHEMA cloud")
            .execute(&mut conn)
            .await
            .unwrap();
        migrator.run_direct(None, &mut conn, false).await.unwrap();
        assert!(!is_of_another_set(&url).await.unwrap(), "this version");
        for change in [
            "UPDATE cloud.migrations SET checksum = '\\x00' WHERE version = (SELECT max(version) FROM cloud.migrations)",
            "DROP SCHEMA cloud CASCADE",
        ] {
            sqlx::raw_sql(change).execute(&mut conn).await.unwrap();
            assert!(is_of_another_set(&url).await.unwrap(), "{change}");
        }
    }
}
