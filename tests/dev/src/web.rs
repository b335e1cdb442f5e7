//! Builds the dashboard's sources with Node.js, and serves them with hot reload. Owns: when they must be built anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use tokio::process::{Child, Command};

use crate::build::{target_directory, workspace};

/// Of each major version from which the dashboard can be built, the first minor one, as in `engines` of `package.json`.
/// Later majors are fine.
const MIN_NODE: [(u32, u32); 2] = [(20, 19), (22, 12)];
/// Files below `target/web` with the hash of what was installed, and of what was built.
const INSTALLED: &str = "installed";
const BUILT: &str = "built";

/// The folder of the dashboard's sources.
fn sources() -> PathBuf {
    workspace().join("functions/web")
}

/// Installs the packages and builds the dashboard, each only if its sources changed. If that fails, prints why; the
/// function `dashboard` then serves the last build, or a page that says how to build it.
pub async fn build() {
    if let Err(error) = try_build().await {
        println!("The dashboard is not built: {error:#}");
    }
}

async fn try_build() -> Result<()> {
    require_node().await?;
    install().await?;
    let output = target_directory()?.join("web");
    let stamp = output.join(BUILT);
    let hash = hash(&source_files()?)?;
    let is_complete = output.join("dist/manifest.json").exists();
    if is_complete && fs::read_to_string(&stamp).is_ok_and(|built| built == hash) {
        return Ok(());
    }
    println!("Building the dashboard ...");
    let started = Instant::now();
    npm(&["run", "--silent", "build"]).await?;
    fs::write(&stamp, hash).with_context(|| format!("cannot write {}", stamp.display()))?;
    let seconds = started.elapsed().as_secs_f64();
    println!("Built the dashboard in {seconds:.1} s.");
    Ok(())
}

/// Serves the sources with hot reload until the child is dropped; `api` is the address of the gateway.
pub async fn serve(api: &str) -> Result<Child> {
    require_node().await?;
    install().await?;
    Command::new("npm")
        .args(["run", "--silent", "dev"])
        .current_dir(sources())
        .env("API", api)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run npm")
}

fn needed() -> String {
    let [(old, old_minor), (new, new_minor)] = MIN_NODE;
    format!("it needs Node.js {old}.{old_minor}, or {new}.{new_minor} or later")
}

async fn require_node() -> Result<()> {
    let output = Command::new("node").arg("--version").output().await;
    let output = output.with_context(needed)?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        parse_version(&version).is_some_and(is_enough),
        "{}, and `node` is {version:?}",
        needed()
    );
    Ok(())
}

fn is_enough((major, minor): (u32, u32)) -> bool {
    let known = MIN_NODE.iter().find(|(known, _)| *known == major);
    match known {
        Some((_, first)) => minor >= *first,
        None => MIN_NODE.iter().all(|(known, _)| major > *known),
    }
}

/// `v20.20.2` as (20, 20).
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Installs the packages that `package-lock.json` names, unless they are installed.
async fn install() -> Result<()> {
    let folder = sources();
    let output = target_directory()?.join("web");
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let stamp = output.join(INSTALLED);
    let hash = hash(&[folder.join("package-lock.json")])?;
    let has_packages = folder.join("node_modules").exists();
    if has_packages && fs::read_to_string(&stamp).is_ok_and(|installed| installed == hash) {
        return Ok(());
    }
    println!("Installing the dashboard's packages ...");
    npm(&[
        "ci",
        "--include=dev",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ])
    .await?;
    fs::write(&stamp, hash).with_context(|| format!("cannot write {}", stamp.display()))
}

async fn npm(arguments: &[&str]) -> Result<()> {
    let status = Command::new("npm")
        .args(arguments)
        .current_dir(sources())
        .env("CARGO_TARGET_DIR", target_directory()?)
        // Whatever the caller has set: a test runner would get React's development build.
        .env("NODE_ENV", "production")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot run npm")?;
    if !status.success() {
        bail!("`npm {}` failed in functions/web", arguments.join(" "));
    }
    Ok(())
}

/// Everything that a build depends on.
fn source_files() -> Result<Vec<PathBuf>> {
    let folder = sources();
    let mut files = vec![workspace().join("shared/src/api/openapi.json")];
    for entry in read_dir(&folder)? {
        if entry.is_file() {
            files.push(entry);
        }
    }
    collect(&folder.join("src"), &mut files)?;
    collect(&folder.join("scripts"), &mut files)?;
    // A build writes them.
    files.retain(|path| !path.ends_with("openapi.gen.d.ts") && !path.ends_with("callers.gen.ts"));
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in read_dir(folder)? {
        if entry.is_dir() {
            collect(&entry, files)?;
        } else {
            files.push(entry);
        }
    }
    Ok(())
}

fn read_dir(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("cannot list {}", folder.display()))
}

/// The hash of the names and contents of files.
fn hash(files: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for path in files {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        hasher.update(Sha256::digest(content));
    }
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (text, expected) in [
            ("v20.19.0", true),
            ("v22.3.1", false),
            ("v100.0.0", true),
            ("v22.12.0", true),
            ("v24.1.0", true),
            ("v20.9.0", false),
            ("v21.7.3", false),
            ("v22.11.0", false),
            ("v18.20.4", false),
            ("20.19.0", false),
            ("", false),
        ] {
            let version = parse_version(text);
            assert_eq!(version.is_some_and(is_enough), expected, "{text}");
        }
    }

    #[test]
    fn a_build_depends_on_the_sources_and_not_on_what_it_writes() {
        let files = source_files().unwrap();
        let has = |name: &str| files.iter().any(|path| path.ends_with(name));
        assert!(has("openapi.json") && has("src/app.tsx") && has("package-lock.json"));
        assert!(!has("openapi.gen.d.ts") && !has("callers.gen.ts"));
        assert!(
            files
                .iter()
                .all(|path| !path.to_string_lossy().contains("node_modules"))
        );
    }
}
