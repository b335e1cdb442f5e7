//! The weight of a container's disk accesses, as its host's kernel has it. Docker accepts a weight for which the kernel has
//! no scheduler, so that only the container's control group says whether it counts (F76).

use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::connection::Connection;
use super::error::HostError;
use crate::domain::fleet::HostReadError;

/// Prints the weights of all containers, because nothing is inserted into a command. Their control groups are named by
/// Docker's ids, with cgroup 1 and 2.
const COMMAND: &str = "grep -rs . /sys/fs/cgroup --include=io.weight --include=io.bfq.weight --include=blkio.weight \
    --include=blkio.bfq.weight | grep -E '[0-9a-f]{64}'";
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// What the kernel gives to everything else.
const DEFAULT_WEIGHT: u64 = 100;
/// The same in `blkio.weight` of cgroup 1.
const DEFAULT_BLKIO_WEIGHT: u64 = 500;

impl Connection {
    /// Whether the kernel lets a container wait for other disk accesses. `false` if it has no weights.
    pub async fn has_low_io_weight(&self, container_id: &str) -> Result<bool, HostError> {
        let output = timeout(COMMAND_TIMEOUT, self.run_command(COMMAND))
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)??;
        Ok(is_low(&output, container_id))
    }
}

fn is_low(output: &str, container_id: &str) -> bool {
    output
        .lines()
        .any(|line| line.contains(container_id) && is_low_line(line) == Some(true))
}

/// `None` if the line has no weight that is for all disks.
fn is_low_line(line: &str) -> Option<bool> {
    let (path, weight) = line.split_once(".weight:")?;
    let weight = weight.strip_prefix("default ").unwrap_or(weight);
    let default = if path.ends_with("/blkio") {
        DEFAULT_BLKIO_WEIGHT
    } else {
        DEFAULT_WEIGHT
    };
    Some(weight.trim().parse::<u64>().ok()? < default)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Origin: the kernel's `Documentation/admin-guide/cgroup-v2.rst`, `cgroup-v1/blkio-controller.rst` and
    /// `Documentation/block/bfq-iosched.rst`; runc names the groups.
    #[test]
    fn f76_a_weight_counts_only_if_the_containers_own_group_has_a_lower_one() {
        let (own, other) = ("a".repeat(64), "b".repeat(64));
        for (line, expected) in [
            (
                format!("/sys/fs/cgroup/system.slice/docker-{own}.scope/io.weight:default 21"),
                true,
            ),
            (
                format!("/sys/fs/cgroup/system.slice/docker-{own}.scope/io.bfq.weight:12"),
                true,
            ),
            (
                format!("/sys/fs/cgroup/blkio/docker/{own}/blkio.weight:499"),
                true,
            ),
            (
                format!("/sys/fs/cgroup/docker/{own}/io.weight:default 100"),
                false,
            ),
            (
                format!("/sys/fs/cgroup/docker/{own}/io.weight:8:0 21"),
                false,
            ),
            (
                format!("/sys/fs/cgroup/blkio/docker/{own}/blkio.bfq.weight:100"),
                false,
            ),
            (
                format!("/sys/fs/cgroup/docker/{other}/io.weight:default 21"),
                false,
            ),
            (String::new(), false),
        ] {
            let output = format!("/sys/fs/cgroup/init.scope/io.weight:default 1\n{line}\n");
            assert_eq!(is_low(&output, &own), expected, "{line}");
        }
    }
}
