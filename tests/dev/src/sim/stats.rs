//! What a simulated container uses, as Docker tells it with cgroup 2. Owns its course: more and less over each hour, and not the
//! same of all containers.

use chrono::Utc;
use serde_json::{Value, json};

use super::script::Container;

const HOUR: u64 = 3_600;
const MEMORY_LIMIT_BYTES: i64 = 2 << 30;

pub(super) fn stats(container: &Container) -> Value {
    if !container.is_up() {
        return json!({
            "read": "0001-01-01T00:00:00Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 0}},
            "memory_stats": {},
        });
    }
    let started_at = container.started_at.unwrap_or(container.created_at);
    let seconds = (Utc::now() - started_at).num_seconds().max(0);
    let seconds = u64::try_from(seconds).unwrap_or_default();
    let kind = container
        .id
        .bytes()
        .fold(0, |sum, byte| sum + u64::from(byte))
        % 7
        + 1;
    let second = seconds % HOUR;
    // Grows by 5,400 to 1,800 per second over an hour, by 3,600 on average.
    let counter = seconds * HOUR + second * (HOUR - second) / 2;
    let memory_bytes = (150 + 40 * kind) * (1 << 20) + second * 20_000;
    json!({
        "read": Utc::now().to_rfc3339(),
        "preread": "0001-01-01T00:00:00Z",
        "pids_stats": {"current": 12},
        "cpu_stats": {
            "cpu_usage": {"total_usage": counter * kind * 10_000},
            "online_cpus": 4,
        },
        "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        "memory_stats": {
            "usage": memory_bytes + (30 << 20),
            "limit": container.memory_bytes.filter(|limit| *limit > 0).unwrap_or(MEMORY_LIMIT_BYTES),
            "stats": {"inactive_file": 30 << 20},
        },
        "networks": {"eth0": {"rx_bytes": counter * kind, "tx_bytes": counter * kind / 3}},
        "blkio_stats": {"io_service_bytes_recursive": [
            {"major": 252, "minor": 0, "op": "read", "value": counter / 9},
            {"major": 252, "minor": 0, "op": "write", "value": counter * kind / 2},
        ]},
    })
}
