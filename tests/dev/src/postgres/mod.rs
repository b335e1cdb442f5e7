//! A Postgres server of our own: started on a free port of 127.0.0.1, gone when we are gone.
//!
//! Owns the server process and its data directory. Does not own what is in the databases.
//!
//! The server runs below a small supervising shell that holds one end of a pipe; when our end closes,
//! because the [`Server`] was dropped or because this process was killed, the shell stops the server
//! and removes its data. No destructor has to run for that, so a `static` server is fine in tests.

mod account;
mod binaries;
mod data;
mod supervisor;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use account::Account;
use supervisor::Supervisor;

pub use data::remove;

/// How long a server may take from its start to its first answer; recovery after a crash included.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Where a server keeps its data and how careful it is with them.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory below which the data directory is made. Root's server runs as `nobody`, so where
    /// `nobody` cannot get there, a directory below the system's temporary one takes its place.
    pub dir: PathBuf,
    /// Flush to disk at each commit. Without it a commit still survives [`Server::crash`], but not a
    /// crash of the machine.
    pub durable: bool,
    /// Keep the data at the end and find them again at the next start.
    pub keep: bool,
}

/// A running Postgres server; it stops when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Server {
    supervisor: Mutex<Supervisor>,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts a server, creating its data directory first where there is none.
    ///
    /// # Errors
    /// When Postgres is not on this machine and cannot be installed, when another server uses the kept
    /// data directory, or when the server does not answer; the message says which.
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
        server.ready().await?;
        Ok(server)
    }

    /// The address of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1; it stays the same over [`Server::restart`].
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates a database, as a copy of `template` when one is named.
    ///
    /// # Errors
    /// When it exists already, or when someone is connected to the template for longer than ten
    /// seconds.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<()> {
        let from = template.unwrap_or("template1");
        let statement = format!("CREATE DATABASE {} TEMPLATE {}", quoted(name), quoted(from));
        let give_up = Instant::now() + Duration::from_secs(10);
        loop {
            match self.execute(&statement).await {
                // object_in_use: another session is still leaving the template.
                Err(error) if is_in_use(&error) && Instant::now() < give_up => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                done => return done.with_context(|| format!("cannot create database {name}")),
            }
        }
    }

    /// Drops a database if it exists, throwing out whoever is connected to it.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
        self.execute(&statement)
            .await
            .with_context(|| format!("cannot drop database {name}"))
    }

    /// Whether a database of that name exists.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn has_database(&self, name: &str) -> Result<bool> {
        let mut connection = self.connect().await?;
        let found =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(name)
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        Ok(found)
    }

    /// Stops the server at once, without a checkpoint and without a word to its clients.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn crash(&self) -> Result<()> {
        self.order("crash").map(drop)
    }

    /// Starts a crashed server again on the same port and waits until it answers.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart(&self) -> Result<()> {
        if self.order("alive")? == "yes" {
            self.crash()?;
        }
        self.order("start")?;
        self.ready().await
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

    /// Asks until the server answers; the server's own log is the message when it never does.
    async fn ready(&self) -> Result<()> {
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            match self.connect().await {
                Ok(connection) => return connection.close().await.map_err(Into::into),
                Err(error) if Instant::now() > give_up => {
                    return Err(error).context("Postgres was started but does not answer");
                }
                Err(_) if self.order("alive")? == "no" => {
                    bail!(
                        "Postgres ended while starting: {}",
                        data::last_words(&self.log)
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

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
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
        // Commits still wait for their write to the kernel: what was committed survives `crash`.
        settings.push("fsync=off".to_owned());
        settings.push("full_page_writes=off".to_owned());
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
    async fn a_server_survives_a_crash_and_leaves_nothing_behind() {
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
        let kept: (i32, String) = sqlx::query_as("SELECT n, current_setting('TimeZone') FROM t")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(kept, (7, "UTC".to_owned()));
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
