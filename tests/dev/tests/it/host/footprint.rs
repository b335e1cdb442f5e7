//! Records what a server has on this machine, and checks what remains of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a server has on this machine. Each item has an identity that distinguishes it from a later
/// one of the same name, because other tests take over a slot as soon as it is free.
#[derive(Debug)]
pub struct Footprint {
    /// The directory and the control groups, with their inodes.
    pub directories: Vec<(PathBuf, u64)>,
    /// Process ids and start times.
    pub processes: Vec<(String, String)>,
    /// The network bridges.
    pub bridges: Vec<String>,
}

impl Footprint {
    /// The footprint of the server with this directory.
    pub fn of(directory: &Path) -> Self {
        let text = directory.to_str().unwrap();
        let name = text.trim_start_matches("/tmp/");
        let mut directories = vec![directory.to_owned()];
        let mut members = String::new();
        let root = Path::new("/sys/fs/cgroup");
        for parent in list(root).into_iter().chain([root.to_owned()]) {
            let group = parent.join(name);
            for group_directory in list(&group).into_iter().filter(|path| path.is_dir()) {
                members += &fs::read_to_string(group_directory.join("cgroup.procs")).unwrap();
                directories.push(group_directory);
            }
            directories.extend(group.exists().then_some(group));
        }
        let processes = list(Path::new("/proc")).into_iter().filter_map(|process| {
            let id = process.file_name()?.to_str()?.to_owned();
            let command_line = fs::read(process.join("cmdline")).unwrap_or_default();
            let is_named = String::from_utf8_lossy(&command_line).contains(&format!("{text}/"));
            let belongs_to_server = is_named || members.lines().any(|member| member == id);
            belongs_to_server.then(|| start_of(&id).map(|start| (id, start)))?
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
            directories: directories
                .into_iter()
                .map(|path| {
                    let inode = inode(&path).unwrap();
                    (path, inode)
                })
                .collect(),
            bridges,
        }
    }

    /// What still exists.
    pub fn remaining(&self) -> Vec<String> {
        let mut remaining = Vec::new();
        for (path, before) in &self.directories {
            if inode(path) == Some(*before) {
                remaining.push(path.display().to_string());
            }
        }
        for (id, before) in &self.processes {
            if start_of(id).as_ref() == Some(before) {
                remaining.push(format!("process {id}"));
            }
        }
        for bridge in &self.bridges {
            if Path::new("/sys/class/net").join(bridge).exists() {
                remaining.push(bridge.clone());
            }
        }
        remaining
    }
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// The start time: field 22 of the process status, in clock ticks after boot. Field 2, the name,
/// may contain blanks.
fn start_of(process: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let after_name = status.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}
