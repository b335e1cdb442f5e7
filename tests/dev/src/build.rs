//! Builds the function binaries with cargo and says where they are.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The root of this workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .ancestors()
        .nth(2)
        .map_or_else(|| package.to_owned(), Path::to_owned)
}

/// Where cargo puts what it builds for this workspace, `CARGO_TARGET_DIR` and cargo's own
/// configuration respected.
///
/// # Errors
/// When cargo cannot be run.
pub fn target_directory() -> Result<PathBuf> {
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .context("cannot run cargo")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        format!("cargo metadata failed: {said}")
    })?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}

/// The names of the functions: the folders below `functions/`.
///
/// # Errors
/// When the folder cannot be read.
pub fn names() -> Result<Vec<String>> {
    let folder = workspace().join("functions");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Builds every function and returns the directory of the binaries. Silent unless the build fails.
///
/// # Errors
/// When the build fails; the compiler's messages went to standard error.
pub fn functions(release: bool) -> Result<PathBuf> {
    let names = names()?;
    let output = Command::new(cargo())
        .args(arguments(&names, release))
        .arg("--quiet")
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    directory(&output)
}

/// The same with cargo's progress on standard error. Dropping the future ends the build.
///
/// # Errors
/// When the build fails.
pub async fn functions_with_progress(release: bool) -> Result<PathBuf> {
    some_with_progress(&names()?, release).await
}

/// The same for some of the functions.
///
/// # Errors
/// When the build fails.
pub async fn some_with_progress(names: &[String], release: bool) -> Result<PathBuf> {
    let output = tokio::process::Command::new(cargo())
        .args(arguments(names, release))
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Not output(): that one would take standard error too, and the compiler's messages with it.
        .spawn()
        .context("cannot run cargo")?
        .wait_with_output()
        .await
        .context("cannot run cargo")?;
    directory(&output)
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn arguments(names: &[String], release: bool) -> Vec<String> {
    let mut arguments = vec!["build".to_owned()];
    for name in names {
        arguments.extend(["--package".to_owned(), name.clone()]);
    }
    arguments.push("--bins".to_owned());
    arguments.push("--message-format=json-render-diagnostics".to_owned());
    if release {
        arguments.push("--release".to_owned());
    }
    arguments
}

/// Reads where the binaries are from cargo's own messages: no guess about target directories.
fn directory(output: &Output) -> Result<PathBuf> {
    if !output.status.success() {
        bail!("building the functions failed: the compiler's messages are above");
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| {
            let executable = Path::new(message["executable"].as_str()?);
            executable.parent().map(Path::to_owned)
        })
        .context("cargo built no binary")
}
