//! Creates and finds data directories, and removes those of dead servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::account::Account;
use super::{Options, binaries};

/// The supervisor kills a server that does not stop within ten seconds.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(12);

/// A data directory that is ready for a server, and its log file.
pub(super) struct Data {
    pub(super) directory: PathBuf,
    pub(super) log: PathBuf,
}

/// Finds or creates the data directory that `options` describe.
pub(super) fn prepare(options: &Options, account: Account, programs: &Path) -> Result<Data> {
    let parent = account.reachable_directory(&absolute(&options.dir)?)?;
    remove_leftovers(&parent);
    let directory = if options.keep {
        parent.join("data")
    } else {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        parent.join(format!("data-{}-{count}", std::process::id()))
    };
    if directory.join("PG_VERSION").exists() {
        wait_until_free(&directory)?;
        check_version(&directory, programs)?;
        return Ok(Data {
            log: parent.join("postgres.log"),
            directory,
        });
    }
    create(&directory, account, programs)?;
    let log = if options.keep {
        parent.join("postgres.log")
    } else {
        directory.join("postgres.log")
    };
    Ok(Data { directory, log })
}

/// Removes the kept data directory below `dir`, so that the next start begins with an empty
/// database. It is an error if a server still uses it.
pub fn remove(dir: &Path) -> Result<()> {
    let parent = Account::current()?.reachable_directory(&absolute(dir)?)?;
    let directory = parent.join("data");
    wait_until_free(&directory)?;
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The end of the server's log, for error messages.
pub(super) fn log_tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot resolve the path {}", path.display()))
}

/// Runs initdb in a temporary directory and renames it, so that an interrupted initdb does not look
/// complete.
fn create(directory: &Path, account: Account, programs: &Path) -> Result<()> {
    let temporary = directory.with_extension("new");
    let _ = fs::remove_dir_all(&temporary);
    fs::create_dir_all(&temporary)
        .with_context(|| format!("cannot create {}", temporary.display()))?;
    account.give(&temporary)?;
    let output = account
        .command(programs.join("initdb"))
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
        .args(["--locale=C", "--no-sync", "--pgdata"])
        .arg(&temporary)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .context("cannot run initdb")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let _ = fs::remove_dir_all(&temporary);
        bail!("initdb failed ({}): {stderr}", output.status);
    }
    fs::rename(&temporary, directory)
        .with_context(|| format!("cannot create {}", directory.display()))
}

/// Waits for a server that is shutting down, then removes a stale `postmaster.pid`: Postgres itself
/// would take any live process with that number for its server.
fn wait_until_free(directory: &Path) -> Result<()> {
    let pid_file = directory.join("postmaster.pid");
    let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
    while let Some(server) = live_server(&pid_file) {
        if Instant::now() > deadline {
            bail!(
                "a Postgres server (process {server}) already uses {}: is another `cargo dev` running?",
                directory.display()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", pid_file.display()))
        }
        _ => Ok(()),
    }
}

fn live_server(pid_file: &Path) -> Option<u32> {
    let text = fs::read_to_string(pid_file).ok()?;
    let server: u32 = text.lines().next()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{server}/comm")).ok()?;
    name.trim().starts_with("postgres").then_some(server)
}

fn check_version(directory: &Path, programs: &Path) -> Result<()> {
    let data_version = fs::read_to_string(directory.join("PG_VERSION"))
        .with_context(|| format!("cannot read the version of {}", directory.display()))?;
    let server_version = binaries::major_version(programs)?;
    if data_version.trim() == server_version {
        return Ok(());
    }
    bail!(
        "the kept data is of Postgres {}, but the server is {server_version}: start over with --fresh",
        data_version.trim()
    )
}

/// Removes temporary data directories whose owner and server no longer exist. They stay behind when
/// the supervisor itself is killed or the machine stops.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix("data-"))
            .and_then(|rest| rest.split('-').next());
        let Some(owner) = owner else { continue };
        let in_use = Path::new("/proc").join(owner).exists();
        if !in_use && live_server(&entry.path().join("postmaster.pid")).is_none() {
            // Another process may be removing the same directory; either succeeds.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
