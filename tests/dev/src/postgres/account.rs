//! Chooses the account of the server: Postgres refuses to run as root, so root runs it as `nobody`.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

#[derive(Clone, Copy, Debug)]
pub(super) enum Account {
    Current,
    Nobody { user: u32, group: u32 },
}

impl Account {
    /// Chooses by the owner of this process.
    pub(super) fn current() -> Result<Self> {
        let uid = fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid());
        if uid != 0 {
            return Ok(Self::Current);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let line = users
            .lines()
            .find(|line| line.starts_with("nobody:"))
            .context("running as root, and there is no user `nobody` to run Postgres as")?;
        let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(user)), Some(Ok(group))) => Ok(Self::Nobody { user, group }),
            _ => bail!("cannot parse the line of `nobody` in /etc/passwd"),
        }
    }

    /// The words that run the following command line under this account.
    pub(super) fn prefix(self) -> Vec<String> {
        match self {
            Self::Current => Vec::new(),
            Self::Nobody { user, group } => vec![
                "setpriv".to_owned(),
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
                "--".to_owned(),
            ],
        }
    }

    pub(super) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let prefix = self.prefix();
        match prefix.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        }
    }

    /// Creates and returns `preferred`, or a directory below the system's temporary one if this
    /// account cannot enter `preferred` (a checkout in root's home, say).
    pub(super) fn reachable_directory(self, preferred: &Path) -> Result<PathBuf> {
        create(preferred)?;
        if matches!(self, Self::Current) || self.can_enter(preferred)? {
            return Ok(preferred.to_owned());
        }
        // The name contains the whole path, so that two checkouts do not share it.
        let name = preferred.to_string_lossy().replace(['/', ' '], "-");
        let fallback = env::temp_dir().join(format!("milady{name}"));
        create(&fallback)?;
        fs::set_permissions(&fallback, Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} accessible", fallback.display()))?;
        if self.can_enter(&fallback)? {
            return Ok(fallback);
        }
        bail!(
            "the user `nobody` can enter neither {} nor {}",
            preferred.display(),
            fallback.display()
        )
    }

    /// Makes this account the owner of a directory.
    pub(super) fn give(self, directory: &Path) -> Result<()> {
        if let Self::Nobody { user, group } = self {
            chown(directory, Some(user), Some(group))
                .with_context(|| format!("cannot give {} to nobody", directory.display()))?;
        }
        Ok(())
    }

    fn can_enter(self, directory: &Path) -> Result<bool> {
        let status = self
            .command("test")
            .arg("-x")
            .arg(directory)
            .stderr(Stdio::null())
            .status()
            .context("cannot run setpriv (package util-linux), needed to start Postgres as root")?;
        Ok(status.success())
    }
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}
