//! Which account the server runs under. Postgres refuses to run as root, so root lends it `nobody`.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The account of the server: ours, or `nobody` when we are root.
#[derive(Clone, Copy, Debug)]
pub(super) enum Account {
    Ours,
    Nobody { user: u32, group: u32 },
}

impl Account {
    /// Decides by who owns our own process.
    pub(super) fn current() -> Result<Self> {
        let ours = fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid());
        if ours != 0 {
            return Ok(Self::Ours);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let line = users
            .lines()
            .find(|line| line.starts_with("nobody:"))
            .context("running as root, and there is no user nobody to run Postgres as")?;
        let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(user)), Some(Ok(group))) => Ok(Self::Nobody { user, group }),
            _ => bail!("the line of nobody in /etc/passwd cannot be read"),
        }
    }

    /// The words to put before a command line so that it runs under this account.
    pub(super) fn prefix(self) -> Vec<String> {
        match self {
            Self::Ours => Vec::new(),
            Self::Nobody { user, group } => vec![
                "setpriv".to_owned(),
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
                "--".to_owned(),
            ],
        }
    }

    /// A command that runs `program` under this account.
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

    /// `wanted`, created if need be, or a directory of the same name below the system's temporary
    /// one when this account cannot get there (a checkout in root's home, say).
    pub(super) fn reachable(self, wanted: &Path) -> Result<PathBuf> {
        create(wanted)?;
        if matches!(self, Self::Ours) || self.can_enter(wanted)? {
            return Ok(wanted.to_owned());
        }
        // Two checkouts must not share it, hence the whole path in the name.
        let name = wanted.to_string_lossy().replace(['/', ' '], "-");
        let elsewhere = env::temp_dir().join(format!("milady{name}"));
        create(&elsewhere)?;
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o755))
            .with_context(|| format!("cannot open up {}", elsewhere.display()))?;
        if self.can_enter(&elsewhere)? {
            return Ok(elsewhere);
        }
        bail!(
            "neither {} nor {} can be reached by the user nobody",
            wanted.display(),
            elsewhere.display()
        )
    }

    /// Hands a directory to this account.
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
