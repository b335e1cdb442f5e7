//! Which threads and processes the kernel prefers.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The kernel shares the processors among sessions first, unless `kernel.sched_autogroup_enabled` is 0. Each connection of
/// Postgres is a session of its own, but this process with its functions is only one.
const SESSION: &str = "/proc/self/autogroup";
/// Nine times the share of another session.
const ENLARGED: &str = "-10";
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

/// Gives this thread, and the processes that it starts from now on, the lowest priority.
pub fn lower_this_thread() {
    // A link to <process>/task/<thread>.
    let link = fs::read_link("/proc/thread-self").ok();
    let thread = link.as_deref().and_then(Path::file_name);
    let renice = thread.and_then(|thread| {
        let mut renice = Command::new("renice");
        renice.args(["-n", LOWEST, "-p"]).arg(thread);
        renice.stdout(Stdio::null()).status().ok()
    });
    if !renice.is_some_and(|status| status.success()) {
        println!("The hostile clients keep their priority: `renice` failed.");
    }
}
