//! One whole snapshot, as the API tells it.

use serde_json::{Value, json};

use super::fixtures::{agent, ago, container, node, now, read, visit};
use super::*;
use crate::domain::agent::AgentStatus;
use crate::domain::observation::Unread;
use crate::domain::placement::HostFacts;

/// Host `a` has a running agent, one that is silent, and another's second container; `b` is down.
fn pass() -> Pass {
    let silent = AgentRow {
        last_heartbeat_at: Some(ago(16)),
        error_message: Some("no answer from 100.64.0.9:31337".to_owned()),
        error_count: 2,
        ..agent(2, "a")
    };
    let waiting = AgentRow {
        sandbox_id: None,
        node_id: None,
        container_name: None,
        docker_image: None,
        last_heartbeat_at: None,
        status: AgentStatus::Pending,
        ..agent(4, "")
    };
    let containers = vec![
        container(3, "running"),
        container(2, "running"),
        container(1, "running"),
    ];
    let facts = HostFacts {
        load_1m_hundredths: Some(205),
        cpus: Some(4),
        memory_used_percent: Some(61),
        disk_used_percent: Some(86),
        io_pressure_percent: Some(3),
    };
    let told = read(containers);
    let docker = told.docker().cloned();
    let mut a = node(
        "a",
        Reading::Reached(Box::new(Visit {
            facts,
            ..visit(docker)
        })),
    );
    let metadata =
        json!({"region": "eu", "publishAddress": "0.0.0.0", "dockerSocket": "/run/d.sock"});
    a.row.metadata = serde_json::from_value(metadata).expect("metadata");
    a.row.allocated_count = 2;
    let why = Unread::TimedOut;
    let b = node("b", Reading::Refused { at: now(), why });
    Pass {
        nodes: vec![b, a],
        agents: vec![silent, agent(1, "a"), agent(3, "b"), waiting],
        backlog: 1,
    }
}

fn text(snapshot: &Snapshot) -> String {
    serde_json::to_string_pretty(snapshot).expect("json") + "\n"
}

#[test]
fn a_snapshot_is_the_json_of_the_api() {
    let snapshot = Snapshot::of(&pass(), now());
    assert_eq!(text(&snapshot), include_str!("example.json"));
    let again: Snapshot = serde_json::from_str(&text(&snapshot)).expect("a snapshot");
    assert_eq!(again, snapshot);
}

#[test]
fn what_was_read_in_another_order_gives_the_same_snapshot() {
    let mut other = pass();
    other.nodes.reverse();
    other.agents.reverse();
    assert_eq!(Snapshot::of(&other, now()), Snapshot::of(&pass(), now()));
}

/// All keys of all objects.
fn keys(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => {
            let inner = fields.values().flat_map(keys);
            fields.keys().map(String::as_str).chain(inner).collect()
        }
        Value::Array(values) => values.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn nothing_in_it_leads_to_a_host() {
    let snapshot = Snapshot::of(&pass(), now());
    let text = text(&snapshot);
    for address in ["100.64.0.9", "31337", "0.0.0.0", "d.sock"] {
        assert!(!text.contains(address), "{address}");
    }
    let value: Value = serde_json::from_str(&text).expect("json");
    for key in keys(&value) {
        let key = key.to_lowercase();
        let leading = [
            "hostname",
            "port",
            "url",
            "headscale",
            "bridge",
            "address",
            "sshuser",
        ];
        let found = leading.iter().find(|word| key.contains(**word));
        assert_eq!(found, None, "{key}");
    }
}
