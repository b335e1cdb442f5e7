//! Builds the function binaries with cargo and reports where they are.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
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

/// The binary that is all other functions in a debug build.
const ALL_FUNCTIONS: &str = "all-functions";

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

/// Builds every function and returns a directory in which each has a file of its name. Prints nothing unless the build
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
    directory(&output, &names, release)
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
    directory(&output, names, release)
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A debug build has one binary for all functions, because linking one for each takes minutes. It is built together with
/// this package, so that both share the compiled dependencies. A release build has a binary per function and only what
/// the functions need, as in a deployment.
fn arguments(names: &[String], release: bool) -> Vec<String> {
    let packages = if release {
        ["--release", "--package=functions"]
    } else {
        ["--package=dev", "--package=all-functions"]
    };
    let always = [
        "build",
        "--package=web",
        "--message-format=json-render-diagnostics",
    ];
    let mut arguments: Vec<String> = always
        .into_iter()
        .chain(packages)
        .map(str::to_owned)
        .collect();
    if release {
        arguments.extend(names.iter().map(|name| format!("--bin={name}")));
    } else {
        let binaries = [ALL_FUNCTIONS, DASHBOARD];
        arguments.extend(binaries.map(|name| format!("--bin={name}")));
    }
    arguments
}

/// The directory in which each of these functions has a file of its name.
fn directory(output: &Output, names: &[String], release: bool) -> Result<PathBuf> {
    if !output.status.success() {
        bail!("building the functions failed: see the compiler's messages above");
    }
    let built = directory_of_binaries(output)?;
    if release {
        return Ok(built);
    }
    let directory = built.join("functions");
    link(&directory, names)
        .with_context(|| format!("cannot make links in {}", directory.display()))?;
    Ok(directory)
}

/// Makes a link per function, by whose name the binary knows which function it is.
fn link(directory: &Path, names: &[String]) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for name in names {
        let binary = if name == DASHBOARD {
            DASHBOARD
        } else {
            ALL_FUNCTIONS
        };
        match symlink(Path::new("..").join(binary), directory.join(name)) {
            // The links of each build are the same.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}

/// Takes the directory of the binaries from cargo's messages rather than guess it.
fn directory_of_binaries(output: &Output) -> Result<PathBuf> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| {
            let executable = Path::new(message["executable"].as_str()?);
            executable.parent().map(Path::to_owned)
        })
        .context("cargo built no binary")
}
