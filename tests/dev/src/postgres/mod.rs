//! A Postgres server that this process starts on a free port of 127.0.0.1 and that ends with this
//! process.
//!
//! Owns the server process and its data directory. Does not own the contents of the databases.
//!
//! The server runs below a small supervising shell that holds one end of a pipe. Our end closes
//! when the [`Server`] is dropped or this process is killed; the shell then stops the server and
//! removes its data. No destructor has to run, so tests can keep a server in a `static`.

mod account;
mod binaries;
mod data;
mod pooler;
mod supervisor;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use account::Account;
use supervisor::Supervisor;

use crate::ports::free_port;

pub use data::remove;
pub use pooler::Pooler;

/// From its start to its first answer, including recovery after a crash.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(1);

/// How long to wait for other sessions to leave a template database.
const TEMPLATE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Options {
    /// The parent of the data directory. Root's server runs as `nobody`; if `nobody` cannot enter
    /// this directory, one below the system's temporary directory replaces it.
    pub dir: PathBuf,
    /// Whether commits are flushed to disk. Without it a commit survives [`Server::crash`] but not
    /// a crash of the machine.
    pub durable: bool,
    /// Whether the data stays for the next start.
    pub keep: bool,
}

/// A running server, which stops when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Server {
    supervisor: Mutex<Supervisor>,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts a server and creates its data directory if there is none. Installs Postgres if the
    /// machine has none. It is an error if another server uses the kept data directory.
    pub async fn start(options: Options) -> Result<Self> {
        let account = Account::current()?;
        let binaries = binaries::find(account)?;
        let data = data::prepare(&options, account, &binaries)?;
        let port = free_port()?;
        let mut command = account.prefix();
        command.push(binaries.join("postgres").to_string_lossy().into_owned());
        command.extend(server_arguments(&data.directory, port, options.durable));
        let remove = (!options.keep).then_some(data.directory.as_path());
        let server = Self {
            supervisor: Mutex::new(Supervisor::new(&command, remove, &data.log)?),
            port,
            log: data.log,
        };
        server.order("start")?;
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1, which [`Server::restart`] does not change.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database for a role that is not the superuser.
    #[must_use]
    pub fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates a database, as a copy of `template` if given. Waits up to ten seconds for other
    /// sessions to leave the template. Sessions without a search path of their own find the tables of
    /// `public` and of `cloud` by their plain names.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<()> {
        let from = template.unwrap_or("template1");
        let statement = format!("CREATE DATABASE {} TEMPLATE {}", quoted(name), quoted(from));
        let deadline = Instant::now() + TEMPLATE_TIMEOUT;
        loop {
            match self.execute(&statement).await {
                // object_in_use: another session has not yet left the template.
                Err(error) if is_in_use(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                result => {
                    result.with_context(|| format!("cannot create database {name}"))?;
                    let name = quoted(name);
                    let statement =
                        format!("ALTER DATABASE {name} SET search_path = public, cloud");
                    return self
                        .execute(&statement)
                        .await
                        .context("cannot set the search path");
                }
            }
        }
    }

    /// Drops a database if it exists and ends all connections to it.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
        self.execute(&statement)
            .await
            .with_context(|| format!("cannot drop database {name}"))
    }

    pub async fn has_database(&self, name: &str) -> Result<bool> {
        let mut connection = self.connect().await?;
        let exists =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(name)
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        Ok(exists)
    }

    /// Stops the server at once: no checkpoint, no notice to its clients.
    pub fn crash(&self) -> Result<()> {
        self.order("crash").map(drop)
    }

    /// Starts a crashed server on the same port and waits until it answers.
    pub async fn restart(&self) -> Result<()> {
        if self.order("alive")? == "yes" {
            self.crash()?;
        }
        self.order("start")?;
        self.wait_until_ready().await
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database("postgres")
            .connect()
            .await
    }

    /// Waits until the server answers. If it exits, the error holds its log.
    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        loop {
            match self.connect().await {
                Ok(connection) => return connection.close().await.map_err(Into::into),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("Postgres started but does not answer");
                }
                Err(_) if self.order("alive")? == "no" => {
                    bail!(
                        "Postgres exited while starting: {}",
                        data::log_tail(&self.log)
                    )
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn order(&self, order: &str) -> Result<String> {
        self.supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .order(order)
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "55006")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn server_arguments(data: &std::path::Path, port: u16, durable: bool) -> Vec<String> {
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=300".to_owned(),
        "shared_buffers=256MB".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
    ];
    if !durable {
        // Commits still wait for the write to the kernel, so committed data survives `crash`.
        settings.push("fsync=off".to_owned());
        settings.push("full_page_writes=off".to_owned());
        // Each test has a database of its own, and a process would look into each of hundreds once a minute.
        settings.push("autovacuum=off".to_owned());
    }
    let mut arguments = vec!["-D".to_owned(), data.to_string_lossy().into_owned()];
    for setting in settings {
        arguments.push("-c".to_owned());
        arguments.push(setting);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn server_survives_a_crash_and_leaves_nothing_behind() {
        let dir = std::env::temp_dir().join(format!("milady-test-{}", std::process::id()));
        let options = Options {
            dir: dir.clone(),
            durable: false,
            keep: false,
        };
        let server = Server::start(options).await.unwrap();
        server.create_database("first", None).await.unwrap();
        let mut connection = PgConnection::connect(&server.url("first")).await.unwrap();
        sqlx::raw_sql("CREATE TABLE t AS SELECT 7 AS n")
            .execute(&mut connection)
            .await
            .unwrap();
        server.crash().unwrap();
        assert!(PgConnection::connect(&server.url("first")).await.is_err());
        server.restart().await.unwrap();
        server.create_database("copy", Some("first")).await.unwrap();
        let mut connection = PgConnection::connect(&server.url("copy")).await.unwrap();
        let row: (i32, String) = sqlx::query_as("SELECT n, current_setting('TimeZone') FROM t")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(row, (7, "UTC".to_owned()));
        server.drop_database("copy").await.unwrap();
        assert!(!server.has_database("copy").await.unwrap());
        drop(server);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn names_are_quoted_for_sql() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
