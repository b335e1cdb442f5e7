//! A host's own figures. Owns: the one command there is, and reading what it prints. Each part is
//! optional: a kernel without pressure figures is no broken host.

use std::time::Duration;

use russh::ChannelMsg;
use tokio::time::timeout;

use super::connection::Connection;
use super::error::HostError;
use crate::domain::placement::HostFacts;

/// A constant. Nothing is ever put into it.
const COMMAND: &str = "for f in loadavg meminfo pressure/cpu pressure/io pressure/memory; do \
    echo \"== $f\"; cat /proc/$f; done; echo '== cpus'; nproc; echo '== disk'; df -P -B1 /";
/// More than this is not read.
const LONGEST: usize = 256 * 1024;
const WITHIN: Duration = Duration::from_secs(5);

impl Connection {
    /// Asks the host for its figures.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn facts(&self) -> Result<HostFacts, HostError> {
        timeout(WITHIN, self.read_facts())
            .await
            .map_err(|_| HostError::TimedOut)?
    }

    async fn read_facts(&self) -> Result<HostFacts, HostError> {
        let mut open = self.to_command().await?;
        open.exec(COMMAND).await?;
        let mut text = Vec::new();
        while let Some(message) = open.wait().await {
            match message {
                // What goes to standard error comes as extended data, and is not wanted.
                ChannelMsg::Data { data } if text.len() + data.len() <= LONGEST => {
                    text.extend_from_slice(&data);
                }
                ChannelMsg::Data { .. } | ChannelMsg::Failure => return Err(HostError::Protocol),
                _ => {}
            }
        }
        Ok(parse(&String::from_utf8_lossy(&text)))
    }
}

fn parse(text: &str) -> HostFacts {
    let section = |name: &str| {
        let start = text.split(&format!("== {name}\n")).nth(1)?;
        start.split("== ").next()
    };
    HostFacts {
        load_1m_hundredths: section("loadavg").and_then(|text| hundredths(text.split(' ').next()?)),
        cpus: section("cpus").and_then(|text| text.trim().parse().ok()),
        memory_used_percent: section("meminfo").and_then(memory),
        disk_used_percent: section("disk").and_then(disk),
        io_pressure_percent: section("pressure/io").and_then(pressure),
    }
}

/// `1.5` or `0.25` in hundredths.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, rest) = text.trim().split_once('.')?;
    let rest = format!("{rest:0<2}");
    let hundredths: u64 = rest.get(..2)?.parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(hundredths)
}

fn memory(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
    percent(total.saturating_sub(available), total)
}

/// As `df` counts it: what is used of what may be used.
fn disk(text: &str) -> Option<u64> {
    let line = text.lines().nth(1)?;
    let mut columns = line.split_whitespace().skip(2);
    let used: u64 = columns.next()?.parse().ok()?;
    let available: u64 = columns.next()?.parse().ok()?;
    percent(used, used.checked_add(available)?)
}

fn pressure(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
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

    const PRINTED: &str = "== loadavg\n1.05 0.70 0.60 2/345 6789\n== meminfo\nMemTotal:  1000 kB\n\
        MemFree: 100 kB\nMemAvailable: 250 kB\n== pressure/cpu\nsome avg10=0.00 avg60=1.00 avg300=0 total=1\n\
        == pressure/io\nsome avg10=0.00 avg60=41.99 avg300=0.00 total=5\nfull avg10=0.00 avg60=3.00\n\
        == pressure/memory\n== cpus\n2\n== disk\nFilesystem 1-blocks Used Available Capacity Mounted on\n\
        /dev/sda1 1000 420 580 42% /\n";

    #[test]
    fn what_a_host_prints_is_read() {
        let expected = HostFacts {
            load_1m_hundredths: Some(105),
            cpus: Some(2),
            memory_used_percent: Some(75),
            disk_used_percent: Some(42),
            io_pressure_percent: Some(41),
        };
        assert_eq!(parse(PRINTED), expected);
    }

    #[test]
    fn what_it_does_not_print_is_none_and_nonsense_is_no_figure() {
        assert_eq!(parse(""), HostFacts::default());
        assert_eq!(
            parse("== loadavg\nx\n== meminfo\nMemTotal: 0 kB\nMemAvailable: 0 kB\n== disk\n"),
            HostFacts::default()
        );
        let huge = format!("== loadavg\n{}.0 1 1\n", u64::MAX);
        assert_eq!(parse(&huge), HostFacts::default());
    }
}
