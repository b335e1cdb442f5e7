//! What a running container uses, as its engine counts it. Owns: what Docker and Podman say with cgroup 1 and 2. Sources:
//! Docker's API reference and `cli/command/container/stats_helpers.go`; Podman's `pkg/api/handlers/compat/containers_stats*.go`.

use serde_json::Value;

use super::error::EngineError;
use super::{ApiVersion, Engine};
use crate::domain::figures::ContainerFigures;

/// An older engine waits a second or two for another look at the container. Docker's 1.41 and Podman answer at once if they
/// are asked for one look.
const FIRST_VERSION: ApiVersion = ApiVersion {
    major: 1,
    minor: 41,
};

impl Engine {
    /// What a running container uses. Nothing is known of it on engines that cannot say it at once.
    pub async fn read_container_figures(&self, id: &str) -> Result<ContainerFigures, EngineError> {
        let version = self.docker.client_version();
        let version = ApiVersion {
            major: version.major_version,
            minor: version.minor_version,
        };
        if version < FIRST_VERSION {
            return Ok(ContainerFigures::default());
        }
        let path = format!("/containers/{id}/stats?stream=false&one-shot=true");
        Ok(figures(&self.get(&path).await?))
    }
}

fn figures(stats: &Value) -> ContainerFigures {
    let memory = &stats["memory_stats"];
    let networks = || stats["networks"].as_object().into_iter().flatten();
    let network = |name: &str| sum(networks().map(|(_, network)| network[name].as_u64()));
    // Linux alone; null where the kernel does not count, as with cgroup 1 and without a suitable scheduler.
    let accesses = stats["blkio_stats"]["io_service_bytes_recursive"].as_array();
    let accesses = || accesses.into_iter().flatten();
    // "Read" with cgroup 1, "read" with cgroup 2.
    let disk = |kind: &str| {
        let of_kind = accesses().filter(|access| {
            let op = access["op"].as_str();
            op.is_some_and(|op| op.eq_ignore_ascii_case(kind))
        });
        sum(of_kind.map(|access| access["value"].as_u64()))
    };
    ContainerFigures {
        // Docker says zero of a container that has ended meanwhile.
        cpu_nanos: positive(&stats["cpu_stats"]["cpu_usage"]["total_usage"]),
        memory_bytes: memory_bytes(memory),
        memory_limit_bytes: positive(&memory["limit"]),
        received_bytes: network("rx_bytes"),
        sent_bytes: network("tx_bytes"),
        read_bytes: disk("read"),
        written_bytes: disk("write"),
    }
}

/// The usage without files that were not used lately, as `docker stats` shows it. Podman does not say how much that is, so
/// its figure includes them.
fn memory_bytes(memory: &Value) -> Option<u64> {
    let usage = positive(&memory["usage"])?;
    // The first is cgroup 1's name for what cgroup 2 calls by the second; cgroup 1 has the second name, too, without the
    // container's children.
    let names = ["total_inactive_file", "inactive_file"];
    let cache = names
        .iter()
        .find_map(|name| memory["stats"][*name].as_u64())
        .filter(|cache| *cache < usage);
    Some(usage - cache.unwrap_or_default())
}

fn positive(value: &Value) -> Option<u64> {
    value.as_u64().filter(|number| *number > 0)
}

/// `None` if none of them is known.
fn sum(numbers: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    numbers.flatten().reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_engine_and_each_version_of_cgroups_is_read_and_what_is_missing_is_unknown() {
        let docker_cgroup_1 = json!({
            "read": "2026-01-01T00:00:00Z",
            "cpu_stats": {
                "cpu_usage": {"total_usage": 7_000_000_000_u64, "percpu_usage": [1, 2]},
                "system_cpu_usage": 99, "online_cpus": 4,
            },
            "precpu_stats": {"cpu_usage": {"total_usage": 0}},
            "memory_stats": {
                "usage": 500, "max_usage": 900, "limit": 2_000,
                "stats": {"total_inactive_file": 200, "inactive_file": 50},
            },
            "networks": {
                "eth0": {"rx_bytes": 10, "tx_bytes": 1},
                "eth1": {"rx_bytes": 20, "tx_bytes": 2},
            },
            "blkio_stats": {"io_service_bytes_recursive": [
                {"major": 8, "minor": 0, "op": "Read", "value": 100},
                {"major": 8, "minor": 0, "op": "Write", "value": 30},
                {"major": 8, "minor": 0, "op": "Sync", "value": 130},
                {"major": 8, "minor": 0, "op": "Total", "value": 130},
                {"major": 8, "minor": 16, "op": "Read", "value": 1},
            ]},
        });
        let docker_cgroup_2 = json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 5}},
            "memory_stats": {"usage": 500, "limit": 2_000, "stats": {"inactive_file": 300}},
            "networks": {"eth0": {"rx_bytes": 10, "tx_bytes": 1}},
            "blkio_stats": {"io_service_bytes_recursive": [
                {"major": 8, "minor": 0, "op": "read", "value": 100},
                {"major": 8, "minor": 0, "op": "write", "value": 30},
            ]},
        });
        // Without details of the memory, and with one network for all.
        let podman = json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 5}, "cpu": 0.5, "online_cpus": 4},
            "memory_stats": {"usage": 500, "limit": 2_000},
            "networks": {"network": {"rx_bytes": 10, "tx_bytes": 1}},
            "blkio_stats": {"io_service_bytes_recursive": []},
        });
        let ended = json!({
            "read": "0001-01-01T00:00:00Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 0}},
            "memory_stats": {},
            "blkio_stats": {"io_service_bytes_recursive": null},
        });
        // The whole usage is cache, there is no network, and values are not what they should be.
        let odd = json!({
            "cpu_stats": {"cpu_usage": {"total_usage": -1}},
            "memory_stats": {"usage": 500, "limit": 0, "stats": {"inactive_file": 500}},
            "networks": [],
            "blkio_stats": {"io_service_bytes_recursive": [{"op": 1, "value": "much"}]},
        });
        let read = |stats: &Value| {
            let figures = figures(stats);
            [
                figures.cpu_nanos,
                figures.memory_bytes,
                figures.memory_limit_bytes,
                figures.received_bytes,
                figures.sent_bytes,
                figures.read_bytes,
                figures.written_bytes,
            ]
        };
        let some = |numbers: [u64; 7]| numbers.map(Some);
        assert_eq!(
            read(&docker_cgroup_1),
            some([7_000_000_000, 300, 2_000, 30, 3, 101, 30])
        );
        assert_eq!(
            read(&docker_cgroup_2),
            some([5, 200, 2_000, 10, 1, 100, 30])
        );
        let mut of_podman = some([5, 500, 2_000, 10, 1, 0, 0]);
        of_podman[5..].fill(None);
        assert_eq!(read(&podman), of_podman);
        assert_eq!(read(&ended), [None; 7]);
        let mut of_odd = [None; 7];
        of_odd[1] = Some(500);
        assert_eq!(read(&odd), of_odd);
        assert_eq!(read(&json!(null)), [None; 7]);
        assert_eq!(read(&json!("odd")), [None; 7]);
    }
}
