//! Which processes the kernel prefers.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The kernel shares the processors among sessions first, and then among the processes of each, unless
/// `kernel.sched_autogroup_enabled` is 0. Each connection of Postgres is a session, and this process with its functions is
/// another one.
const SESSION: &str = "/proc/self/autogroup";
/// Nine times the share of another session.
const ENLARGED: &str = "-10";
/// The smallest share, and the lowest priority of a process.
const LOWEST: &str = "19";

/// While it exists, this session has a larger share of the processors.
pub struct SessionShare {
    /// The nice value that the session had.
    before: Option<String>,
}

impl SessionShare {
    pub fn enlarge() -> Self {
        let session = fs::read_to_string(SESSION).ok();
        let before = session.and_then(|text| Some(text.split_once("nice ")?.1.trim().to_owned()));
        if before.is_some() && fs::write(SESSION, ENLARGED).is_err() {
            println!(
                "Each connection of Postgres gets as much time as all functions: that cannot be changed."
            );
        }
        Self { before }
    }
}

impl Drop for SessionShare {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Fails where it could not be changed, either.
            let _ = fs::write(SESSION, before);
        }
    }
}

/// A command that runs a program in a session of its own.
pub fn session_of_its_own(program: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("setsid");
    command.arg(program);
    command
}

/// Gives this session, and this process with those that it starts from now on, the lowest priority.
pub fn lower_this_session() {
    // Without sessions that the kernel tells apart, the priority of the process decides.
    let _ = fs::write(SESSION, LOWEST);
    let mut renice = Command::new("renice");
    renice.args(["-n", LOWEST, "-p", &std::process::id().to_string()]);
    if !renice.output().is_ok_and(|output| output.status.success()) {
        eprintln!("The hostile clients keep their priority: `renice` failed.");
    }
}
