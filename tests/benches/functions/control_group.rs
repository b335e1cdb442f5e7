//! A control group for an instance: the memory that its function has in the template, and the share of a processor that
//! Lambda gives it for that. Owns: both versions of control groups, and that no group is left.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io, process, thread};

/// "At 1,769 MB, a function has the equivalent of one vCPU":
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>.
const MIB_PER_PROCESSOR: u64 = 1_769;
/// The kernel's default, in microseconds. Lambda does not document its own.
const PERIOD: u64 = 100_000;
const ROOT: &str = "/sys/fs/cgroup";
/// A process that was just killed is still in its group for a moment.
const REMOVAL_ATTEMPTS: usize = 100;
const REMOVAL_INTERVAL: Duration = Duration::from_millis(10);

/// Where control groups are created.
#[derive(Debug)]
pub struct ControlGroups {
    version: Version,
    created: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// Each controller has a hierarchy of its own.
    V1,
    V2,
}

/// A control group, which is removed when dropped. By then its processes must have ended.
#[derive(Debug)]
pub struct ControlGroup {
    /// One per hierarchy. The last one limits the processor time.
    folders: Vec<PathBuf>,
}

impl ControlGroups {
    /// The error says why this machine lets nobody limit a process.
    pub fn find() -> Result<Self, String> {
        let root = Path::new(ROOT);
        let version = if root.join("cgroup.controllers").exists() {
            Version::V2
        } else {
            Version::V1
        };
        if version == Version::V2 {
            let path = root.join("cgroup.subtree_control");
            let enabled = fs::read_to_string(&path).unwrap_or_default();
            for controller in ["cpu", "memory"] {
                if !enabled.split_whitespace().any(|name| name == controller) {
                    return Err(format!("{} does not name {controller}", path.display()));
                }
            }
        }
        let groups = Self {
            version,
            created: AtomicU32::new(0),
        };
        match groups.create(128) {
            Ok(_) => Ok(groups),
            Err(error) => Err(format!("no control group can be made in {ROOT}: {error}")),
        }
    }

    /// A group with the limits of a function with this much memory.
    pub fn create(&self, memory_mib: u32) -> io::Result<ControlGroup> {
        let number = self.created.fetch_add(1, Ordering::Relaxed);
        let name = format!("milady-function-{}-{number}", process::id());
        let root = Path::new(ROOT);
        let memory = (u64::from(memory_mib) << 20).to_string();
        let quota = PERIOD * u64::from(memory_mib) / MIB_PER_PROCESSOR;
        let (folders, limits) = match self.version {
            Version::V1 => {
                let (of_memory, of_cpu) = (
                    root.join("memory").join(&name),
                    root.join("cpu").join(&name),
                );
                let limits = vec![
                    (of_memory.join("memory.limit_in_bytes"), memory),
                    (of_cpu.join("cpu.cfs_period_us"), PERIOD.to_string()),
                    (of_cpu.join("cpu.cfs_quota_us"), quota.to_string()),
                ];
                (vec![of_memory, of_cpu], limits)
            }
            Version::V2 => {
                let folder = root.join(&name);
                let limits = vec![
                    (folder.join("memory.max"), memory),
                    (folder.join("cpu.max"), format!("{quota} {PERIOD}")),
                ];
                (vec![folder], limits)
            }
        };
        // Made before the folders, so that those that were created are removed if the next one is refused.
        let group = ControlGroup { folders };
        for folder in &group.folders {
            fs::create_dir(folder)?;
        }
        for (path, limit) in limits {
            fs::write(path, limit)?;
        }
        Ok(group)
    }
}

impl ControlGroup {
    /// The shell script with which a process joins the group.
    pub fn joining_script(&self) -> String {
        let folders = self.folders.iter();
        let lines = folders.map(|folder| format!("echo $$ > {}/cgroup.procs\n", folder.display()));
        lines.collect()
    }

    /// In how many periods the group's processes used up their share and had to wait.
    pub fn waits(&self) -> Option<u64> {
        let statistics = fs::read_to_string(self.folders.last()?.join("cpu.stat")).ok()?;
        let mut lines = statistics.lines();
        lines.find_map(|line| line.strip_prefix("nr_throttled ")?.trim().parse().ok())
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            let removed = |_: usize| match fs::remove_dir(folder) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(_) => {
                    thread::sleep(REMOVAL_INTERVAL);
                    false
                }
            };
            if !(0..REMOVAL_ATTEMPTS).any(removed) {
                eprintln!("{} is left: remove it with rmdir", folder.display());
            }
        }
    }
}
