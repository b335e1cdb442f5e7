//! A host's load, memory and disk figures. Owns: the only command that is ever run on a host, and parsing
//! what it prints. Every figure is optional: older kernels, for example, have no pressure figures.

use std::time::Duration;

use russh::ChannelMsg;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::connection::Connection;
use super::error::HostError;
use crate::domain::fleet::HostFacts;
use crate::domain::fleet::HostReadError;

/// A constant: nothing is ever inserted into it.
const COMMAND: &str = "for f in loadavg meminfo pressure/cpu pressure/io pressure/memory; do \
    echo \"== $f\"; cat /proc/$f; done; echo '== cpus'; nproc; echo '== disk'; df -P -B1 /";
const MAX_OUTPUT_BYTES: usize = 256 * 1024;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

impl Connection {
    /// Reads the host's own figures.
    pub async fn read_facts(&self) -> Result<HostFacts, HostError> {
        timeout(COMMAND_TIMEOUT, self.run_facts_command())
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)?
    }

    async fn run_facts_command(&self) -> Result<HostFacts, HostError> {
        let mut channel = self.open_command_channel().await?;
        channel.exec(COMMAND).await?;
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
        Ok(parse(&String::from_utf8_lossy(&output)))
    }
}

fn parse(output: &str) -> HostFacts {
    let section = |name: &str| {
        let start = output.split(&format!("== {name}\n")).nth(1)?;
        start.split("== ").next()
    };
    HostFacts {
        load_1m_hundredths: section("loadavg").and_then(|text| hundredths(text.split(' ').next()?)),
        cpus: section("cpus").and_then(|text| text.trim().parse().ok()),
        memory_used_percent: section("meminfo").and_then(memory_used_percent),
        disk_used_percent: section("disk").and_then(disk_used_percent),
        io_pressure_percent: section("pressure/io").and_then(pressure_percent),
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

/// As `df` computes it: used / (used + available), but rounded down. Blocks reserved for root are neither.
fn disk_used_percent(df: &str) -> Option<u64> {
    let line = df.lines().nth(1)?;
    let mut columns = line.split_whitespace().skip(2);
    let used: u64 = columns.next()?.parse().ok()?;
    let available: u64 = columns.next()?.parse().ok()?;
    percent(used, used.checked_add(available)?)
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
        == pressure/memory\n== cpus\n2\n== disk\nFilesystem 1-blocks Used Available Capacity Mounted on\n\
        /dev/sda1 1000 420 580 42% /\n";

    #[test]
    fn every_figure_is_parsed_from_the_output() {
        let expected = HostFacts {
            load_1m_hundredths: Some(105),
            cpus: Some(2),
            memory_used_percent: Some(75),
            disk_used_percent: Some(42),
            io_pressure_percent: Some(41),
        };
        assert_eq!(parse(OUTPUT), expected);
    }

    #[test]
    fn missing_and_malformed_figures_are_none() {
        assert_eq!(parse(""), HostFacts::default());
        assert_eq!(
            parse("== loadavg\nx\n== meminfo\nMemTotal: 0 kB\nMemAvailable: 0 kB\n== disk\n"),
            HostFacts::default()
        );
        let overflowing = format!("== loadavg\n{}.0 1 1\n", u64::MAX);
        assert_eq!(parse(&overflowing), HostFacts::default());
    }
}
