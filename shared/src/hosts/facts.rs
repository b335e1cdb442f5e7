//! A host's load, memory and disk figures, and what it says about its packet filter. Owns: the command of the inspection,
//! and parsing what it prints. Every figure is optional: older kernels, for example, have no pressure figures.

use std::path::Path;
use std::time::Duration;

use russh::ChannelMsg;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::connection::Connection;
use super::error::HostError;
use crate::domain::fleet::{HostFacts, HostReadError, PacketFilter};

/// A constant: nothing is ever inserted into it. So it reports every local file system, and the one that Docker uses is
/// found here (F89). `-l`, which not every `df` knows, leaves out network file systems: one that hangs would block the
/// command.
const COMMAND: &str = "for f in loadavg meminfo pressure/cpu pressure/io pressure/memory; do \
    echo \"== $f\"; cat /proc/$f; done; echo '== cpus'; nproc; echo '== disks'; df -P -B1 /; df -P -B1 -l; \
    echo '== filter'; cat /proc/uptime /run/milady-isolation";
const ROOT: &str = "/";
const MAX_OUTPUT_BYTES: usize = 256 * 1024;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// What a host reports about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFigures {
    /// Without Docker's own disk.
    facts: HostFacts,
    file_systems: Vec<FileSystem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileSystem {
    mount_point: String,
    used_percent: u64,
}

impl HostFigures {
    /// `docker_root` is the directory in which Docker keeps its data, if it is known.
    #[must_use]
    pub fn into_facts(self, docker_root: Option<&str>) -> HostFacts {
        let file_systems = self.file_systems.iter();
        let holding = file_systems.filter(|file_system| {
            docker_root.is_some_and(|root| Path::new(root).starts_with(&file_system.mount_point))
        });
        // Of several mounts on one directory, `df` lists the valid one last.
        let nearest = holding.max_by_key(|file_system| file_system.mount_point.len());
        let nearest = nearest.filter(|file_system| file_system.mount_point != ROOT);
        HostFacts {
            docker_disk_used_percent: nearest.map(|file_system| file_system.used_percent),
            ..self.facts
        }
    }
}

impl Connection {
    /// Reads the host's own figures.
    pub async fn read_figures(&self) -> Result<HostFigures, HostError> {
        timeout(COMMAND_TIMEOUT, self.run_facts_command())
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)?
    }

    async fn run_facts_command(&self) -> Result<HostFigures, HostError> {
        Ok(parse(&self.run_command(COMMAND).await?))
    }

    /// Returns the standard output of a command. It is a constant, so that nothing is ever inserted into it.
    pub(super) async fn run_command(&self, command: &'static str) -> Result<String, HostError> {
        let mut channel = self.open_command_channel().await?;
        channel.exec(command).await?;
        let mut output = Vec::new();
        while let Some(message) = channel.next_message().await {
            match message {
                // Standard error comes as extended data, which is ignored.
                ChannelMsg::Data { data } if output.len() + data.len() <= MAX_OUTPUT_BYTES => {
                    output.extend_from_slice(&data);
                }
                ChannelMsg::Data { .. } | ChannelMsg::Failure => {
                    return Err(HostReadError::Protocol.into());
                }
                _ => {}
            }
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

fn parse(output: &str) -> HostFigures {
    let section = |name: &str| {
        let start = output.split(&format!("== {name}\n")).nth(1)?;
        start.split("== ").next()
    };
    let file_systems = section("disks").map(file_systems).unwrap_or_default();
    let root = file_systems
        .iter()
        .find(|file_system| file_system.mount_point == ROOT);
    let facts = HostFacts {
        load_1m_hundredths: section("loadavg").and_then(|text| hundredths(text.split(' ').next()?)),
        cpus: section("cpus").and_then(|text| text.trim().parse().ok()),
        memory_used_percent: section("meminfo").and_then(memory_used_percent),
        disk_used_percent: root.map(|root| root.used_percent),
        docker_disk_used_percent: None,
        io_pressure_percent: section("pressure/io").and_then(pressure_percent),
        packet_filter: section("filter").map_or(PacketFilter::Unknown, packet_filter),
    };
    HostFigures {
        facts,
        file_systems,
    }
}

/// The report that `functions/hosts/milady-isolation` writes, after the seconds since the host started.
fn packet_filter(text: &str) -> PacketFilter {
    let uptime = text.split('.').next();
    let uptime = uptime.and_then(|seconds| seconds.parse::<u64>().ok());
    let Some(uptime) = uptime else {
        return PacketFilter::Unknown;
    };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let checked_at = field("checked ").and_then(|text| text.trim().parse::<u64>().ok());
    let (Some(checked_at), Some(bridges)) = (checked_at, field("bridges ")) else {
        return PacketFilter::NotReported;
    };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    PacketFilter::InPlace {
        age_seconds: uptime.saturating_sub(checked_at),
        bridges: words(bridges),
        // Earlier versions of the script tried nothing.
        reached: field("reached ").map_or_else(Vec::new, words),
        unprobed: field("unprobed ").map_or_else(Vec::new, words),
    }
}

/// Parses a decimal such as `1.5` or `0.25` into hundredths: 150, 25.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.trim().split_once('.')?;
    let fraction = format!("{fraction:0<2}");
    let hundredths: u64 = fraction.get(..2)?.parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(hundredths)
}

fn memory_used_percent(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
    percent(total.saturating_sub(available), total)
}

/// The file systems in the table of `df`. A line that is none, such as the heading, is left out.
fn file_systems(df: &str) -> Vec<FileSystem> {
    df.lines().filter_map(file_system).collect()
}

/// The use as `df` computes it, used / (used + available), but rounded down. Blocks reserved for root are neither.
fn file_system(line: &str) -> Option<FileSystem> {
    let mut columns = line.split_whitespace().skip(2);
    let used: u64 = columns.next()?.parse().ok()?;
    let available: u64 = columns.next()?.parse().ok()?;
    // A name may hold spaces.
    let mount_point: Vec<&str> = columns.skip(1).collect();
    Some(FileSystem {
        mount_point: mount_point.join(" "),
        used_percent: percent(used, used.checked_add(available)?)?,
    })
}

/// The share of the last minute in which some process waited.
fn pressure_percent(pressure: &str) -> Option<u64> {
    let line = pressure
        .lines()
        .find_map(|line| line.strip_prefix("some "))?;
    let average = line
        .split(' ')
        .find_map(|field| field.strip_prefix("avg60="))?;
    hundredths(average).map(|hundredths| hundredths / 100)
}

fn percent(part: u64, whole: u64) -> Option<u64> {
    part.checked_mul(100)?.checked_div(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "== loadavg\n1.05 0.70 0.60 2/345 6789\n== meminfo\nMemTotal:  1000 kB\n\
        MemFree: 100 kB\nMemAvailable: 250 kB\n== pressure/cpu\nsome avg10=0.00 avg60=1.00 avg300=0 total=1\n\
        == pressure/io\nsome avg10=0.00 avg60=41.99 avg300=0.00 total=5\nfull avg10=0.00 avg60=3.00\n\
        == pressure/memory\n== cpus\n2\n== disks\nFilesystem 1-blocks Used Available Capacity Mounted on\n\
        tmpfs 0 0 0 - /sys/fs\n/dev/sda1 1000 420 580 42% /\n/dev/sdb1 1000 900 100 90% /var\n\
        /dev/sdc1 1000 970 30 97% /var/lib/docker\n/dev/sdd1 1000 10 990 1% /mnt/my disk\n\
        == filter\n3600.25 7000.00\nchecked 3559\nbridges mly-+ br-0123456789ab\n\
        reached 10.0.0.1:80 172.18.0.1:22\nunprobed\n";

    #[test]
    fn every_figure_is_parsed_from_the_output() {
        let expected = HostFacts {
            load_1m_hundredths: Some(105),
            cpus: Some(2),
            memory_used_percent: Some(75),
            disk_used_percent: Some(42),
            docker_disk_used_percent: None,
            io_pressure_percent: Some(41),
            packet_filter: PacketFilter::InPlace {
                age_seconds: 41,
                bridges: vec!["mly-+".to_owned(), "br-0123456789ab".to_owned()],
                reached: vec!["10.0.0.1:80".to_owned(), "172.18.0.1:22".to_owned()],
                unprobed: Vec::new(),
            },
        };
        assert_eq!(parse(OUTPUT).into_facts(None), expected);
    }

    #[test]
    fn f89_dockers_disk_is_the_one_that_holds_its_directory() {
        for (root, expected) in [
            (None, None),
            (Some("/var/lib/docker"), Some(97)),
            (Some("/var/lib/docker/data"), Some(97)),
            (Some("/var/lib/docker2"), Some(90)),
            (Some("/mnt/my disk/docker"), Some(1)),
            // It is the root file system, which has a figure of its own.
            (Some("/docker"), None),
            (Some("relative"), None),
        ] {
            let facts = parse(OUTPUT).into_facts(root);
            assert_eq!(facts.docker_disk_used_percent, expected, "{root:?}");
            assert_eq!(facts.disk_used_percent, Some(42), "{root:?}");
        }
    }

    #[test]
    fn f77_only_a_complete_report_of_the_packet_filter_counts() {
        let filter = |text: &str| parse(&format!("== filter\n{text}")).facts.packet_filter;
        assert_eq!(filter(""), PacketFilter::Unknown);
        for text in [
            "3600.25 7000.00\n",
            "3600.25 7000.00\nchecked\nbridges mly-+\n",
            "3600.25 7000.00\nchecked 10\n",
        ] {
            assert_eq!(filter(text), PacketFilter::NotReported, "{text}");
        }
    }

    #[test]
    fn missing_and_malformed_figures_are_none() {
        let facts = |output| parse(output).into_facts(Some("/var/lib/docker"));
        assert_eq!(facts(""), HostFacts::default());
        assert_eq!(
            facts("== loadavg\nx\n== meminfo\nMemTotal: 0 kB\nMemAvailable: 0 kB\n== disks\n"),
            HostFacts::default()
        );
        let overflowing = format!("== loadavg\n{}.0 1 1\n", u64::MAX);
        assert_eq!(facts(&overflowing), HostFacts::default());
    }
}
