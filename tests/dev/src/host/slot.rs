//! Numbered directories for servers, each claimed by a lock.
//!
//! The supervisor inherits the lock. So a directory that can be locked belongs to no living server,
//! and its files were left by one whose supervisor was killed too.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{programs, supervisor};

/// A claimed slot: its directory is locked by this process.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) directory: PathBuf,
    pub(super) resources: SlotResources,
    pub(super) lock: File,
}

/// What a server creates outside its directory and namespaces; empty strings mean nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotResources {
    /// The network of its bridges' addresses.
    pub(super) pool: String,
    /// The parent control group of its containers.
    pub(super) group: String,
}

impl Slot {
    /// Claims the first free slot below `count` and empties its directory. `resources` returns what
    /// belongs to a slot number.
    ///
    /// The directories are not below `TMPDIR`: the path of a socket has at most 107 bytes, and all
    /// users of the machine must see the same slots.
    pub(super) fn claim(kind: &str, count: u8, resources: fn(u8) -> SlotResources) -> Result<Self> {
        for number in 0..count {
            if let Some(slot) = Self::claim_number(kind, number, resources)? {
                return Ok(slot);
            }
        }
        bail!("all {count} slots are in use: see /tmp/milady-{kind}-*")
    }

    /// Claims the slot with this number and empties its directory. `None` if another process has
    /// it.
    pub(super) fn claim_number(
        kind: &str,
        number: u8,
        resources: fn(u8) -> SlotResources,
    ) -> Result<Option<Self>> {
        let directory = PathBuf::from(format!("/tmp/milady-{kind}-{number}"));
        let Some(lock) = lock(&directory)? else {
            return Ok(None);
        };
        let slot = Self {
            directory,
            resources: resources(number),
            lock,
        };
        slot.empty()?;
        Ok(Some(slot))
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

/// `None` if another process has the directory, or had it until now.
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
    // The previous owner may have removed the directory in between; then this lock guards nothing.
    let locked = lock
        .metadata()
        .context("cannot read a directory's metadata")?;
    let is_current = fs::symlink_metadata(directory)
        .is_ok_and(|current| (current.dev(), current.ino()) == (locked.dev(), locked.ino()));
    Ok((is_current && locked.uid() == programs::current_uid()).then_some(lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_has_one_owner_until_its_lock_is_released() {
        // A kind that no server uses.
        let kind = format!("test-{}", std::process::id());
        let claim = || Slot::claim(&kind, 2, |_| SlotResources::default());
        let first = claim().unwrap();
        let second = claim().unwrap();
        assert_ne!(first.directory, second.directory);
        assert!(claim().is_err());
        fs::write(first.directory.join("leftover"), "").unwrap();
        let directory = first.directory.clone();
        drop(first);
        let reclaimed = claim().unwrap();
        assert_eq!(reclaimed.directory, directory);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        for slot in [reclaimed, second] {
            fs::remove_dir(&slot.directory).unwrap();
        }
    }

    #[test]
    fn lock_of_a_removed_directory_does_not_guard_its_successor() {
        let directory = PathBuf::from(format!("/tmp/milady-test-again-{}", std::process::id()));
        let old = lock(&directory).unwrap().unwrap();
        assert!(lock(&directory).unwrap().is_none());
        fs::remove_dir(&directory).unwrap();
        assert!(lock(&directory).unwrap().is_some());
        drop(old);
        fs::remove_dir(&directory).unwrap();
    }
}
