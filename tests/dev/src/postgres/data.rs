//! The data directory: made, found again, cleared of what dead servers left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::account::Account;
use super::{Options, binaries};

/// A data directory ready for a server, and the log beside it.
pub(super) struct Data {
    pub(super) directory: PathBuf,
    pub(super) log: PathBuf,
}

/// Finds or makes the data directory of `options`.
pub(super) fn prepare(options: &Options, account: Account, programs: &Path) -> Result<Data> {
    let parent = account.reachable(&absolute(&options.dir)?)?;
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
    make(&directory, account, programs)?;
    let log = if options.keep {
        parent.join("postgres.log")
    } else {
        directory.join("postgres.log")
    };
    Ok(Data { directory, log })
}

/// Removes the kept data directory below `dir`, so that the next start begins with nothing.
///
/// # Errors
/// When a server still uses it.
pub fn remove(dir: &Path) -> Result<()> {
    let parent = Account::current()?.reachable(&absolute(dir)?)?;
    let directory = parent.join("data");
    wait_until_free(&directory)?;
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The end of the server's log, for the message of a failed start.
pub(super) fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("no such place: {}", path.display()))
}

/// Runs initdb beside the final place and moves the result there, so that an interrupted initdb
/// never looks like a finished one.
fn make(directory: &Path, account: Account, programs: &Path) -> Result<()> {
    let unfinished = directory.with_extension("new");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)
        .with_context(|| format!("cannot create {}", unfinished.display()))?;
    account.give(&unfinished)?;
    let output = account
        .command(programs.join("initdb"))
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
        .args(["--locale=C", "--no-sync", "--pgdata"])
        .arg(&unfinished)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .context("cannot run initdb")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let _ = fs::remove_dir_all(&unfinished);
        bail!("initdb failed ({}): {said}", output.status);
    }
    fs::rename(&unfinished, directory)
        .with_context(|| format!("cannot create {}", directory.display()))
}

/// Waits out a server that is just stopping; a `postmaster.pid` nobody stands behind is removed,
/// because Postgres itself trusts any live process of that number.
fn wait_until_free(directory: &Path) -> Result<()> {
    let lock = directory.join("postmaster.pid");
    let give_up = Instant::now() + Duration::from_secs(12);
    while let Some(server) = live_server(&lock) {
        if Instant::now() > give_up {
            bail!(
                "a Postgres (process {server}) already uses {}: is another `cargo dev` open?",
                directory.display()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    match fs::remove_file(&lock) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", lock.display()))
        }
        _ => Ok(()),
    }
}

fn live_server(lock: &Path) -> Option<u32> {
    let text = fs::read_to_string(lock).ok()?;
    let server: u32 = text.lines().next()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{server}/comm")).ok()?;
    name.trim().starts_with("postgres").then_some(server)
}

fn check_version(directory: &Path, programs: &Path) -> Result<()> {
    let theirs = fs::read_to_string(directory.join("PG_VERSION"))
        .with_context(|| format!("cannot read the version of {}", directory.display()))?;
    let ours = binaries::major_version(programs)?;
    if theirs.trim() == ours {
        return Ok(());
    }
    bail!(
        "the kept data are of Postgres {}, this is {ours}: start over with --fresh",
        theirs.trim()
    )
}

/// Throw-away directories whose owner is gone and whose server is gone too: what is left when the
/// supervisor itself was killed, or the machine stopped.
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
            // Another process may be doing the same at this moment: whoever comes second is content.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
