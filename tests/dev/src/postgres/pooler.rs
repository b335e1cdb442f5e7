//! `PgBouncer` in transaction mode in front of a server: each transaction of a client may run in another session.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;

use super::Server;
use super::account::Account;
use crate::ports::free_port;

const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Ends when it is dropped, or with its owner's process.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    shell: Child,
}

impl Pooler {
    /// Starts a pooler that opens at most `size` sessions per database and lets in this role.
    ///
    /// # Errors
    ///
    /// `PgBouncer` is not installed or does not start.
    pub async fn start(server: &Server, role: &str, size: u32) -> Result<Self> {
        let program = find_or_install()?;
        let account = Account::current()?;
        let port = free_port()?;
        let name = format!("pooler-{}-{port}", std::process::id());
        let directory = account
            .reachable_directory(&crate::build::target_directory()?)?
            .join(name);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("users"), format!("\"{role}\" \"\"\n"))?;
        let (log, users) = (directory.join("log"), directory.join("users"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
            listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\nlogfile = {}\n\
            pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 1000\n\
            server_idle_timeout = 2\nlog_connections = 0\nlog_disconnections = 0\n",
            server.port(),
            users.display(),
            log.display(),
        );
        fs::write(directory.join("pgbouncer.ini"), settings)?;
        account.give(&directory)?;
        // The shell's input closes when this process ends, however it ends.
        let script = "\"$1\" -q \"$0\" & pid=$!; cat >/dev/null; kill -9 $pid; rm -rf \"${0%/*}\"";
        let shell = account
            .command("sh")
            .arg("-c")
            .arg(script)
            .arg(directory.join("pgbouncer.ini"))
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a shell")?;
        let pooler = Self { port, shell };
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            if Instant::now() > deadline {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("PgBouncer (Debian's package pgbouncer) does not answer: {log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(pooler)
    }

    /// The URL of a database by way of the pooler.
    #[must_use]
    pub fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Finds `PgBouncer`, or installs it with apt where that is possible.
fn find_or_install() -> Result<PathBuf> {
    let find = || {
        [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/usr/local/bin/pgbouncer",
        ]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.is_file())
    };
    if let Some(path) = find() {
        return Ok(path);
    }
    if matches!(Account::current()?, Account::Nobody { .. }) {
        eprintln!("Installing PgBouncer with apt ...");
        let install =
            "apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbouncer";
        let status = Command::new("sh")
            .args(["-c", install])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status();
        if status.is_ok_and(|status| status.success())
            && let Some(path) = find()
        {
            return Ok(path);
        }
    }
    bail!("PgBouncer is not installed (Debian's package pgbouncer)")
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
