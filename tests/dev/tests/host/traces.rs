//! What a server has on this machine, and what of it is left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a server has on this machine, each thing with what tells it from a later one of the same name:
/// other tests take over a place as soon as it is free.
#[derive(Debug)]
pub struct Traces {
    /// The directory and the control groups, with their inodes.
    pub places: Vec<(PathBuf, u64)>,
    /// Processes, with the time of their start.
    pub processes: Vec<(String, String)>,
    /// The bridges of its networks.
    pub bridges: Vec<String>,
}

impl Traces {
    /// Looks at the server that has this directory.
    pub fn of(directory: &Path) -> Self {
        let text = directory.to_str().unwrap();
        let name = text.trim_start_matches("/tmp/");
        let mut places = vec![directory.to_owned()];
        let mut members = String::new();
        let root = Path::new("/sys/fs/cgroup");
        for parent in list(root).into_iter().chain([root.to_owned()]) {
            let group = parent.join(name);
            for place in list(&group).into_iter().filter(|place| place.is_dir()) {
                members += &fs::read_to_string(place.join("cgroup.procs")).unwrap();
                places.push(place);
            }
            places.extend(group.exists().then_some(group));
        }
        let processes = list(Path::new("/proc")).into_iter().filter_map(|process| {
            let id = process.file_name()?.to_str()?.to_owned();
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            let is_named = String::from_utf8_lossy(&words).contains(&format!("{text}/"));
            let is_ours = is_named || members.lines().any(|member| member == id);
            is_ours.then(|| start_of(&id).map(|start| (id, start)))?
        });
        let mut bridges = Vec::new();
        if let Some(number) = name.strip_prefix("milady-engine-") {
            let number: u16 = number.parse().unwrap();
            let pool = format!("198.{}.{}.0/20", 18 + number / 16, number % 16 * 16);
            let mut ip = Command::new("ip");
            let output = ip.args(["-o", "-4", "address", "show", "to", &pool]);
            let output = String::from_utf8(output.output().unwrap().stdout).unwrap();
            let names = output
                .lines()
                .filter_map(|line| line.split_whitespace().nth(1));
            bridges.extend(names.map(str::to_owned));
        }
        Self {
            processes: processes.collect(),
            places: places
                .into_iter()
                .map(|place| {
                    let inode = inode(&place).unwrap();
                    (place, inode)
                })
                .collect(),
            bridges,
        }
    }

    /// What of it is still there.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (place, before) in &self.places {
            if inode(place) == Some(*before) {
                left.push(place.display().to_string());
            }
        }
        for (id, before) in &self.processes {
            if start_of(id).as_ref() == Some(before) {
                left.push(format!("process {id}"));
            }
        }
        for bridge in &self.bridges {
            if Path::new("/sys/class/net").join(bridge).exists() {
                left.push(bridge.clone());
            }
        }
        left
    }
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

/// The 22nd field of its status: clock ticks after the machine's start. The second may hold blanks.
fn start_of(process: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let after_name = status.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}
