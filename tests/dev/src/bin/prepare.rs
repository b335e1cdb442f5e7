//! `cargo prepare`: derives the files that repeat what the code says, checks every `query!` against a migrated
//! Postgres, and regenerates `.sqlx/`, from which all other builds read the types of the database. Run it after
//! changing a query, a migration or a route.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use dev::postgres::{Options, Server};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

#[tokio::main]
async fn main() -> Result<()> {
    let root = dev::build::workspace();
    let options = Options {
        dir: dev::build::target_directory()?.join("prepare"),
        durable: false,
        keep: false,
    };
    let server = Server::start(options).await?;
    server.create_database("prepare", None).await?;
    let url = server.url("prepare");
    let mut connection = PgConnection::connect(&url).await?;
    let mut migrator = Migrator::new(root.join("migrations").as_path()).await?;
    migrator.set_locking(false);
    migrator.dangerous_set_table_name("cloud.migrations");
    // Names without a schema are an error, as in the functions.
    sqlx::raw_sql("CREATE SCHEMA cloud; SET search_path = pg_catalog, pg_temp")
        .execute(&mut connection)
        .await?;
    migrator.run_direct(None, &mut connection, false).await?;
    let url = format!("{url}?options=-c%20search_path=pg_catalog,pg_temp");
    derive(&root, &url)?;
    regenerate(&root, &url)
}

/// Compiles against the database, because `.sqlx` may be stale.
fn derive(root: &Path, url: &str) -> Result<()> {
    let status = cargo(root, url)
        .args(["run", "--package", "tests", "--bin", "derive"])
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the derived files could not be written: see the messages above");
    }
    Ok(())
}

/// Cargo, with queries checked against this database.
fn cargo(root: &Path, url: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root)
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .stdin(Stdio::null());
    command
}

fn regenerate(root: &Path, url: &str) -> Result<()> {
    let (generated, committed) = (root.join("target/sqlx"), root.join(".sqlx"));
    if generated.exists() {
        std::fs::remove_dir_all(&generated)?;
    }
    std::fs::create_dir_all(&generated)?;
    // Rewriting the file makes cargo compile the crate again, which runs the macros again.
    let library = root.join("shared/src/lib.rs");
    let text = std::fs::read(&library)?;
    std::fs::write(&library, text)?;
    let status = cargo(root, url)
        .args(["check", "--package", "shared"])
        .env("SQLX_OFFLINE_DIR", &generated)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("a query does not match the database: see the compiler's messages above");
    }
    if committed.exists() {
        std::fs::remove_dir_all(&committed)?;
    }
    std::fs::rename(&generated, &committed)?;
    let count = std::fs::read_dir(&committed)?.count();
    println!("{count} queries are in .sqlx");
    Ok(())
}
