//! The shells that supervise a server; see `supervise.sh` and `namespace_init.sh`.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::network::Namespace;
use super::programs;
use super::slot::Slot;

const SUPERVISE: &str = include_str!("supervise.sh");
const NAMESPACE_INIT: &str = include_str!("namespace_init.sh");

/// An order to the shell inside the namespaces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Start,
    /// Kill the server but not its child processes.
    Stop,
    /// Kill everything in the namespaces.
    StopAll,
    /// Report the load in the file `loadavg` of the directory instead of the machine's own.
    Load,
}

/// Supervises one server. Dropping it ends the server with all its processes and waits for that.
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
    /// Starts the shells only; [`Order::Start`] starts the server. At each of the `hidden` paths
    /// the server sees an empty directory of its own.
    pub(super) fn new(slot: Slot, hidden: &str, server: &[OsString]) -> Result<Self> {
        Self::in_network(slot, hidden, server, None)
    }

    /// The same in a network namespace.
    pub(super) fn in_network(
        slot: Slot,
        hidden: &str,
        server: &[OsString],
        network: Option<&Namespace>,
    ) -> Result<Self> {
        let log = slot.directory.join("log");
        let mut command = shell(&slot, "run", network);
        let mut child = command
            .args([programs::namespace_options(), NAMESPACE_INIT, hidden])
            .args(server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(slot.lock)
            // Ctrl-C in a terminal signals our whole process group, but the server must outlive its
            // clients.
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the supervisor has no pipes");
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

    /// Sends an order and waits until it is carried out.
    pub(super) fn order(&self, order: Order) -> Result<()> {
        let word = match order {
            Order::Start => "start",
            Order::Stop => "stop",
            Order::StopAll => "stop-all",
            Order::Load => "load",
        };
        self.send(word).map(drop)
    }

    pub(super) fn is_alive(&self) -> Result<bool> {
        Ok(self.send("alive")? == "yes")
    }

    /// The end of the server's log, for error messages.
    pub(super) fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.reverse();
        lines.join(" / ")
    }

    pub(super) fn log(&self) -> Result<String> {
        let text =
            fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn send(&self, word: &str) -> Result<String> {
        self.shell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(word)
            .with_context(|| format!("the supervisor has exited: {}", self.log_tail()))
    }
}

impl Shell {
    fn send(&mut self, word: &str) -> Result<String> {
        let orders = self.orders.as_mut().context("the supervisor is stopping")?;
        writeln!(orders, "{word}")?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            bail!("the supervisor closed its output");
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Wait, so that nothing is left once the drop returns. If waiting fails there is nothing
        // more to do.
        let _ = self.child.wait();
    }
}

/// Removes what a killed supervisor left in a slot that this process has claimed.
pub(super) fn clean(slot: &Slot) -> Result<()> {
    let status = shell(slot, "clean", None)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run sh")?;
    if !status.success() {
        bail!("{} cannot be cleaned", slot.directory.display());
    }
    Ok(())
}

fn shell(slot: &Slot, mode: &str, network: Option<&Namespace>) -> Command {
    let mut command = match network {
        Some(network) => {
            let mut command = Command::new("nsenter");
            command.args(network.enter("sh".into()));
            command
        }
        None => Command::new("sh"),
    };
    command
        .args(["-c", SUPERVISE, "supervise", mode])
        .arg(&slot.directory)
        .args([&slot.resources.pool, &slot.resources.group])
        // Keep our secrets out of containers and sessions.
        .env_clear()
        .env("PATH", programs::path())
        .current_dir(Path::new("/"));
    command
}
