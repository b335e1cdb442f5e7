//! Installs Schemathesis in a Python environment of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// schemathesis.toml and the report reader match the formats of this major version.
const VERSION: &str = "schemathesis>=4.32,<5";

/// Installs Schemathesis unless it is installed. Returns the path of the executable.
pub(super) async fn install(directory: &Path) -> Result<PathBuf> {
    let executable = directory.join("bin/schemathesis");
    if executable.is_file() {
        return Ok(executable);
    }
    println!("Installing Schemathesis below {} ...", directory.display());
    let environment = Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(directory)
        .stdin(Stdio::null())
        .status()
        .await
        .context("cannot run python3, which Schemathesis needs")?;
    if !environment.success() {
        bail!("python3 cannot make a virtual environment; on Debian, install python3-venv");
    }
    let installed = Command::new(directory.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", VERSION])
        .stdin(Stdio::null())
        .status()
        .await
        .context("cannot run pip")?;
    if !installed.success() {
        bail!("pip cannot install {VERSION}: see its message above");
    }
    Ok(executable)
}
