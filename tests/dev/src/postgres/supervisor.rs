//! The shell that supervises the server; see `supervise.sh`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

const SCRIPT: &str = include_str!("supervise.sh");

/// The supervising shell. Dropping it stops the server and waits until it has stopped.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Starts the shell only; the order `start` starts the server.
    pub(super) fn new(server: &[String], remove: Option<&Path>, log: &Path) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "supervise"])
            .arg(remove.unwrap_or(Path::new("")))
            .arg(log)
            .args(server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal signals our whole process group, but the server must outlive its
            // clients.
            .process_group(0)
            .current_dir("/")
            .spawn()
            .context("cannot run sh")?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the supervisor of Postgres has no pipes");
        };
        Ok(Self {
            child,
            orders: Some(orders),
            answers: BufReader::new(answers),
        })
    }

    /// Sends one order and waits for its one-line answer.
    pub(super) fn order(&mut self, order: &str) -> Result<String> {
        const EXITED: &str = "the supervisor of Postgres has exited";
        let orders = self.orders.as_mut().context(EXITED)?;
        writeln!(orders, "{order}").context(EXITED)?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer).context(EXITED)? == 0 {
            bail!(EXITED);
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Wait, so that nothing is left once the drop returns. If waiting fails there is nothing
        // more to do.
        let _ = self.child.wait();
    }
}
