//! Builds the function binaries with cargo and reports where they are.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The workspace's root directory.
#[must_use]
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .ancestors()
        .nth(2)
        .map_or_else(|| package.to_owned(), Path::to_owned)
}

/// Cargo's target directory for this workspace. Respects `CARGO_TARGET_DIR` and cargo's
/// configuration.
pub fn target_directory() -> Result<PathBuf> {
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .context("cannot run cargo")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        format!("cargo metadata failed: {stderr}")
    })?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}

/// The function that is a package of its own, because it embeds the dashboard.
const DASHBOARD: &str = "dashboard";

/// The names of the functions: the files in `functions/src/bin/`, and the dashboard.
pub fn function_names() -> Result<Vec<String>> {
    let folder = workspace().join("functions/src/bin");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.push(DASHBOARD.to_owned());
    names.sort();
    Ok(names)
}

/// The source file of a function, relative to the workspace.
#[must_use]
pub fn function_source(name: &str) -> String {
    if name == DASHBOARD {
        return format!("functions/web/server/{name}.rs");
    }
    format!("functions/src/bin/{name}.rs")
}

/// Builds every function and returns the directory of the binaries. Prints nothing unless the build
/// fails.
pub fn functions(release: bool) -> Result<PathBuf> {
    let names = function_names()?;
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

/// Like [`functions`], with cargo's progress on standard error. Dropping the future ends the build.
pub async fn functions_with_progress(release: bool) -> Result<PathBuf> {
    selected_functions_with_progress(&function_names()?, release).await
}

/// Like [`functions_with_progress`], for the named functions only.
pub async fn selected_functions_with_progress(names: &[String], release: bool) -> Result<PathBuf> {
    let output = tokio::process::Command::new(cargo())
        .args(arguments(names, release))
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Not output(), which would also capture standard error and so hide the compiler's
        // messages.
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

/// The functions are built together with this package, so that both share the compiled dependencies. A release
/// build has only what the functions need, as in a deployment.
fn arguments(names: &[String], release: bool) -> Vec<String> {
    let mut arguments = vec![
        "build".to_owned(),
        "--package=functions".to_owned(),
        "--package=web".to_owned(),
        "--message-format=json-render-diagnostics".to_owned(),
    ];
    arguments.extend(names.iter().map(|name| format!("--bin={name}")));
    let kind = if release {
        "--release"
    } else {
        "--package=dev"
    };
    arguments.push(kind.to_owned());
    arguments
}

/// Takes the directory of the binaries from cargo's messages rather than guess it.
fn directory(output: &Output) -> Result<PathBuf> {
    if !output.status.success() {
        bail!("building the functions failed: see the compiler's messages above");
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
