//! The shells between us and a server; see `supervise.sh` and `inside.sh`.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::place::Place;
use super::programs;

const OUTSIDE: &str = include_str!("supervise.sh");
const INSIDE: &str = include_str!("inside.sh");

/// An order to the shell inside the namespaces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// Start the server.
    Start,
    /// Kill the server alone; what it started goes on.
    Stop,
    /// Kill everything in the namespaces.
    StopAll,
    /// Let `loadavg` in the directory be the load that the server's system tells of.
    Load,
}

/// Supervises one server; dropping it ends the server and whatever it started, and waits until all of
/// it is gone.
#[derive(Debug)]
pub(super) struct Supervisor {
    shell: Mutex<Shell>,
    log: PathBuf,
}

#[derive(Debug)]
struct Shell {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Starts the shells only; [`Order::Start`] starts the server. At the `hidden` places the server
    /// finds empty directories of its own.
    pub(super) fn new(place: Place, hidden: &str, server: &[OsString]) -> Result<Self> {
        let log = place.directory.join("log");
        let mut command = shell(&place, "run");
        let mut child = command
            .args([programs::namespace_options(), INSIDE, hidden])
            .args(server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(place.lock)
            // Ctrl-C in a terminal goes to our whole process group: it must not reach the server
            // before its clients have finished.
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the supervisor of a server has no pipes");
        };
        Ok(Self {
            shell: Mutex::new(Shell {
                child,
                orders: Some(orders),
                answers: BufReader::new(answers),
            }),
            log,
        })
    }

    /// Gives an order and waits until it was carried out.
    pub(super) fn order(&self, order: Order) -> Result<()> {
        let word = match order {
            Order::Start => "start",
            Order::Stop => "stop",
            Order::StopAll => "stop-all",
            Order::Load => "load",
        };
        self.say(word).map(drop)
    }

    /// Whether the server runs.
    pub(super) fn is_alive(&self) -> Result<bool> {
        Ok(self.say("alive")? == "yes")
    }

    /// The end of the server's log, for the message of a failed start.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.reverse();
        lines.join(" / ")
    }

    /// The whole log.
    pub(super) fn log(&self) -> Result<String> {
        let text =
            fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn say(&self, word: &str) -> Result<String> {
        self.shell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .say(word)
            .with_context(|| format!("the supervisor is gone: {}", self.last_words()))
    }
}

impl Shell {
    fn say(&mut self, word: &str) -> Result<String> {
        let orders = self.orders.as_mut().context("no longer supervised")?;
        writeln!(orders, "{word}")?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            bail!("it answers no more");
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Waiting keeps the promise that nothing is left when an orderly end is reported. A failure
        // to wait leaves nothing to do.
        let _ = self.child.wait();
    }
}

/// Removes what a killed supervisor left at a place that is ours now.
pub(super) fn clean(place: &Place) -> Result<()> {
    let status = shell(place, "clean")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run sh")?;
    if !status.success() {
        bail!("{} cannot be cleaned", place.directory.display());
    }
    Ok(())
}

fn shell(place: &Place, todo: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", OUTSIDE, "supervise", todo])
        .arg(&place.directory)
        .args([&place.outside.pool, &place.outside.group])
        // No secret of ours gets near what runs in a container or a session.
        .env_clear()
        .env("PATH", programs::path())
        .current_dir(Path::new("/"));
    command
}
