//! What this machine provides: programs, users, namespaces.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Directories of servers, which are not always on an ordinary user's PATH.
const SERVER_DIRECTORIES: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// The PATH of the servers and their child processes.
pub(super) fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(SERVER_DIRECTORIES);
    path
}

/// The full path of a program. The error is a sentence that names the Debian package.
pub(super) fn find(program: &str, package: &str) -> Result<PathBuf, String> {
    env::split_paths(&path())
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_absolute() && candidate.is_file())
        .ok_or_else(|| format!("{program} is not installed (Debian's package {package})."))
}

pub(super) fn current_uid() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid())
}

/// The unshare options that give a server its own namespaces. Without root this also needs a user
/// namespace.
pub(super) fn namespace_options() -> &'static str {
    if current_uid() == 0 {
        "--mount --pid --fork --kill-child --mount-proc"
    } else {
        "--user --map-current-user --mount --pid --fork --kill-child --mount-proc"
    }
}

/// Tries to create the namespaces. The error is a sentence for the user.
pub(super) fn check_namespaces() -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("Starting servers needs Linux.".to_owned());
    }
    let unshare = find("unshare", "util-linux")?;
    let options = namespace_options().split(' ').map(OsString::from);
    let options: Vec<OsString> = options.chain(["true".into()]).collect();
    run(&unshare, &options)
        .map(drop)
        .map_err(|error| format!("Namespaces cannot be created here: {error:#}."))
}

/// Runs a program and returns its standard output. The error holds its standard error.
pub(super) fn run(program: &Path, arguments: &[OsString]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", program.display(), stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
