//! The sample agent as a container image: built once with cargo, imported without a registry.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::Engine;
use super::http::{self, Body};
use crate::build;

pub const SAMPLE: &str = "milady/agent:sample";

/// The image with a Docker health check that runs every second.
pub const CHECKED: &str = "milady/agent:checked";

const COMMAND: &str = "CMD [\"/agent\"]";
const CHECK: &str = "HEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD [\"/agent\",\"check\"]";

/// The label that holds the digest of the image's files.
const DIGEST_LABEL: &str = "milady.sample";

/// Imports [`SAMPLE`] into the engine behind a socket, unless the engine has the same version. The
/// engine may belong to the user: nothing is removed, an older image only loses its name.
pub async fn import_if_outdated(socket: &Path) -> Result<()> {
    let digest = hex::encode(Sha256::digest(files().await?));
    let path = format!("/images/{SAMPLE}/json");
    let image = http::send(socket, "GET", &path, Body::Empty).await;
    let image: Value = serde_json::from_slice(&image.unwrap_or_default()).unwrap_or_default();
    if image["Config"]["Labels"][DIGEST_LABEL] == digest.as_str() {
        return Ok(());
    }
    let label = format!("LABEL {DIGEST_LABEL}={digest}");
    import_into(socket, SAMPLE, &[COMMAND, &label]).await
}

/// Builds the sample agent if needed and imports it as [`SAMPLE`] and [`CHECKED`].
pub async fn import(engine: &Engine) -> Result<()> {
    import_as(engine, SAMPLE, &[COMMAND]).await?;
    import_as(engine, CHECKED, &[COMMAND, CHECK]).await
}

/// Like [`import`], with a name and Dockerfile instructions of the caller's choice.
pub async fn import_as(engine: &Engine, name: &str, instructions: &[&str]) -> Result<()> {
    import_into(engine.socket(), name, instructions).await
}

async fn import_into(socket: &Path, name: &str, instructions: &[&str]) -> Result<()> {
    let files = files().await?;
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let mut path = format!(
        "/images/create?fromSrc=-&repo={}&tag={}",
        http::percent_encoded(repository),
        http::percent_encoded(tag)
    );
    for instruction in instructions {
        path.push_str("&changes=");
        path.push_str(&http::percent_encoded(instruction));
    }
    let output = http::send(socket, "POST", &path, Body::Tar(files)).await?;
    // The engine answers 200 before the import is finished, so an error can only be in the body.
    let image = format!("/images/{name}/json");
    let imported = http::send(socket, "GET", &image, Body::Empty).await;
    imported.map(drop).with_context(|| {
        format!(
            "the import failed: {}",
            String::from_utf8_lossy(&output).trim()
        )
    })
}

/// Builds the sample agent and returns the path of its binary, which is statically linked.
pub async fn build() -> Result<PathBuf> {
    let platform = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    // A target directory of its own: other compiler flags in the shared one would rebuild
    // everything each time, and cargo may hold the lock of the shared one for the build we are part
    // of.
    let target = build::target_directory()?.join("agent");
    let binary = target.join(&platform).join("release").join("agent");
    if !binary.is_file() {
        eprintln!("Building the sample agent; the first build takes about a minute.");
    }
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--package", "sample-agent"])
        .args(["--bin", "agent", "--target", &platform, "--target-dir"])
        .arg(&target)
        .current_dir(build::workspace())
        // This variable would take precedence over RUSTFLAGS.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("building the sample agent failed: see the compiler's messages above");
    }
    Ok(binary)
}

async fn files() -> Result<&'static [u8]> {
    static FILES: OnceCell<Vec<u8>> = OnceCell::const_new();
    FILES.get_or_try_init(archive).await.map(Vec::as_slice)
}

async fn archive() -> Result<Vec<u8>> {
    let binary = build().await?;
    let program = tokio::fs::read(&binary)
        .await
        .with_context(|| format!("cannot read {}", binary.display()))?;
    let mut archive = Vec::new();
    entry(&mut archive, "tmp/", 0o1777, &[]);
    entry(&mut archive, "app/", 0o755, &[]);
    entry(&mut archive, "app/data/", 0o755, &[]);
    entry(&mut archive, "agent", 0o755, &program);
    archive.resize(archive.len() + 1024, 0);
    Ok(archive)
}

/// Appends a file, or a directory if the name ends in a slash, in the "ustar" format of
/// POSIX.1-1988.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000"); // user
    put(116, "0000000"); // group
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000"); // time
    put(148, "        "); // the checksum is computed with blanks in its own field
    put(156, if name.ends_with('/') { "5" } else { "0" });
    put(257, "ustar\u{0}00");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    header[154] = 0;
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_readable_by_tar() {
        let mut archive = Vec::new();
        entry(&mut archive, "tmp/", 0o1777, &[]);
        entry(&mut archive, "agent", 0o755, b"program");
        archive.resize(archive.len() + 1024, 0);
        let file = env::temp_dir().join(format!("archive-{}.tar", std::process::id()));
        std::fs::write(&file, archive).unwrap();
        let tar = |words: &[&str]| {
            let mut command = std::process::Command::new("tar");
            let output = command.args(words).arg("-f").arg(&file).output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        let list = tar(&["--utc", "-tv"]);
        let modes: Vec<&str> = list.lines().map(|line| &line[..10]).collect();
        assert_eq!(modes, ["drwxrwxrwt", "-rwxr-xr-x"]);
        let mut command = std::process::Command::new("tar");
        let output = command
            .arg("-xOf")
            .arg(&file)
            .arg("agent")
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"program");
        std::fs::remove_file(file).unwrap();
    }
}
