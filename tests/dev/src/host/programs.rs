//! What this machine has and allows: programs, users, namespaces.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where servers are, which is not always on an ordinary user's PATH.
const SERVERS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// PATH for the servers and what they start.
pub(super) fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(SERVERS);
    path
}

/// The whole path of a program; the error is a sentence that names the package.
pub(super) fn find(program: &str, package: &str) -> Result<PathBuf, String> {
    env::split_paths(&path())
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_absolute() && candidate.is_file())
        .ok_or_else(|| format!("{program} is not installed (Debian's package {package})."))
}

/// The number of the user this process runs as.
pub(super) fn our_user() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid())
}

/// The options that give a server namespaces of its own. Who is not root needs one of users for that.
pub(super) fn namespace_options() -> &'static str {
    if our_user() == 0 {
        "--mount --pid --fork --kill-child --mount-proc"
    } else {
        "--user --map-current-user --mount --pid --fork --kill-child --mount-proc"
    }
}

/// Tries the namespaces; the error is a sentence.
pub(super) fn namespaces_work() -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("Servers of our own need Linux.".to_owned());
    }
    let unshare = find("unshare", "util-linux")?;
    let options = namespace_options().split(' ').map(OsString::from);
    let options: Vec<OsString> = options.chain(["true".into()]).collect();
    run(&unshare, &options)
        .map(drop)
        .map_err(|error| format!("A namespace of our own is not allowed here: {error:#}."))
}

/// Runs a program to its end and returns what it printed.
pub(super) fn run(program: &Path, arguments: &[OsString]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", program.display(), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
