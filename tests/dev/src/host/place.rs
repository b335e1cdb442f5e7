//! A short directory for one server, taken by holding a lock on it.
//!
//! The supervisor inherits the lock, so a directory that can be locked belongs to nobody who lives, and
//! what is in it was left by someone whose supervisor was killed as well.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{programs, supervisor};

/// A directory that is ours.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) outside: Outside,
    pub(super) lock: File,
}

/// What a server makes outside of its directory and its namespaces; empty words for nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside {
    /// Its bridges have addresses of this network.
    pub(super) pool: String,
    /// The control group above those of its containers.
    pub(super) group: String,
}

impl Place {
    /// Takes the first free one of `count` directories, empty; `outside` says what its number stands for.
    ///
    /// Not below `TMPDIR`: a socket's path has at most 107 bytes, and all owners must see the same places.
    pub(super) fn take(kind: &str, count: u8, outside: fn(u8) -> Outside) -> Result<Self> {
        for number in 0..count {
            if let Some(place) = Self::take_this(kind, number, outside)? {
                return Ok(place);
            }
        }
        bail!("{count} servers run already: /tmp/milady-{kind}-*")
    }

    /// Takes the directory of this number, empty; none when someone else has it.
    pub(super) fn take_this(
        kind: &str,
        number: u8,
        outside: fn(u8) -> Outside,
    ) -> Result<Option<Self>> {
        let directory = PathBuf::from(format!("/tmp/milady-{kind}-{number}"));
        let Some(lock) = lock(&directory)? else {
            return Ok(None);
        };
        let place = Self {
            directory,
            outside: outside(number),
            lock,
        };
        place.empty()?;
        Ok(Some(place))
    }

    fn empty(&self) -> Result<()> {
        let is_empty = || Ok::<_, anyhow::Error>(fs::read_dir(&self.directory)?.next().is_none());
        if !is_empty()? {
            supervisor::clean(self)?;
        }
        if !is_empty()? {
            bail!("{} cannot be emptied", self.directory.display());
        }
        Ok(())
    }
}

/// None when someone else has it, or just had it.
fn lock(directory: &Path) -> Result<Option<File>> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create {}", directory.display()));
        }
        _ => {}
    }
    let Ok(lock) = File::open(directory) else {
        return Ok(None);
    };
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    // Its last owner may have removed it in between, and then this is the lock of nothing.
    let held = lock.metadata().context("cannot look at a directory")?;
    let is_held = fs::symlink_metadata(directory)
        .is_ok_and(|found| (found.dev(), found.ino()) == (held.dev(), held.ino()));
    Ok((is_held && held.uid() == programs::our_user()).then_some(lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_owners_until_the_lock_is_gone() {
        // Below no name that a server uses.
        let kind = format!("test-{}", std::process::id());
        let take = || Place::take(&kind, 2, |_| Outside::default());
        let first = take().unwrap();
        let second = take().unwrap();
        assert_ne!(first.directory, second.directory);
        assert!(take().is_err());
        fs::write(first.directory.join("leftover"), "").unwrap();
        let directory = first.directory.clone();
        drop(first);
        let again = take().unwrap();
        assert_eq!(again.directory, directory);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        for place in [again, second] {
            fs::remove_dir(&place.directory).unwrap();
        }
    }

    #[test]
    fn a_directory_that_was_removed_and_made_again_is_another_one() {
        let directory = PathBuf::from(format!("/tmp/milady-test-again-{}", std::process::id()));
        let old = lock(&directory).unwrap().unwrap();
        assert!(lock(&directory).unwrap().is_none());
        fs::remove_dir(&directory).unwrap();
        assert!(lock(&directory).unwrap().is_some());
        drop(old);
        fs::remove_dir(&directory).unwrap();
    }
}
