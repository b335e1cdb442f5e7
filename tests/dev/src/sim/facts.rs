//! What a simulated host reports about itself.

use std::fmt::Write;

use super::script::DOCKER_ROOT;

const DISK_BYTES: u64 = 200_000_000_000;

/// The facts that a host reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The load average of the last minute, in hundredths.
    pub load_hundredths: u64,
    pub cpus: u64,
    /// The memory that the host has.
    pub memory_kib: u64,
    pub memory_percent: u64,
    /// The use of the root file system.
    pub disk_percent: u64,
    /// The use of the file system that holds Docker's data. `None` if that is the root file system.
    pub docker_disk_percent: Option<u64>,
    /// The share of the last minute in which a task waited for I/O. `None` if the kernel does not
    /// report it.
    pub io_pressure_percent: Option<u64>,
    /// How many seconds ago its packet filter was last found in place. `None` if it has no such report.
    pub filter_age_seconds: Option<u64>,
    /// What its packet filter lets agents reach although it must not.
    pub reached: Vec<String>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            load_hundredths: 42,
            cpus: 4,
            memory_kib: 16_000_000,
            memory_percent: 35,
            disk_percent: 40,
            docker_disk_percent: None,
            io_pressure_percent: Some(1),
            filter_age_seconds: Some(30),
            reached: Vec::new(),
        }
    }
}

impl Facts {
    /// The output of the command that reads the facts.
    pub(super) fn command_output(&self) -> String {
        const UPTIME_SECONDS: u64 = 1_000_000;
        let percentage = |total: u64, percent: u64| total / 100 * percent;
        let (load, cpus, memory) = (self.load_hundredths, self.cpus, self.memory_kib);
        let available = memory - percentage(memory, self.memory_percent.min(100));
        let disk = |device: &str, used_percent: u64, mount_point: &str| {
            let used = percentage(DISK_BYTES, used_percent.min(100));
            let free = DISK_BYTES - used;
            format!("{device} {DISK_BYTES} {used} {free} {used_percent}% {mount_point}\n")
        };
        let docker_disk = self.docker_disk_percent;
        let docker_disk = docker_disk.map(|percent| disk("/dev/vdb1", percent, DOCKER_ROOT));
        let no_pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n\
            full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let io = self.io_pressure_percent.map(|percent| {
            format!("some avg10=0.00 avg60={percent}.00 avg300=0.00 total=1\n{no_pressure}")
        });
        let report = self.filter_age_seconds.map(|age| {
            let checked_at = UPTIME_SECONDS - age.min(UPTIME_SECONDS);
            let reached = self.reached.join(" ");
            format!("checked {checked_at}\nbridges mly-+ br-+\nreached {reached}\nunprobed\n")
        });
        let mut text = String::new();
        let sections = [
            (
                "loadavg",
                format!("{}.{:02} 0.50 0.40 1/234 5678\n", load / 100, load % 100),
            ),
            (
                "meminfo",
                format!(
                    "MemTotal:       {memory} kB\nMemFree:        1000 kB\n\
                    MemAvailable:   {available} kB\n"
                ),
            ),
            ("pressure/cpu", no_pressure.to_owned()),
            ("pressure/io", io.unwrap_or_default()),
            ("pressure/memory", no_pressure.to_owned()),
            ("cpus", format!("{cpus}\n")),
            (
                "disks",
                format!(
                    "Filesystem     1-blocks Used Available Capacity Mounted on\n{}{}",
                    disk("/dev/vda1", self.disk_percent, "/"),
                    docker_disk.unwrap_or_default()
                ),
            ),
            (
                "filter",
                format!(
                    "{UPTIME_SECONDS}.00 {UPTIME_SECONDS}.00\n{}",
                    report.unwrap_or_default()
                ),
            ),
        ];
        for (name, section) in sections {
            let _ = write!(text, "== {name}\n{section}");
        }
        text
    }
}
