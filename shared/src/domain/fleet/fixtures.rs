//! Hosts, agents and containers for tests.

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::domain::agent::AgentStatus;
use crate::domain::container::name;
use crate::domain::ids::{AgentId, HostId, OrganizationId, UserId};
use crate::domain::lane::{Backlog, LaneBacklog};
use uuid::Uuid;

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

pub(crate) fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

/// An enabled host with 8 slots, 1 of them allocated, inspected a minute before this run.
pub(crate) fn host_row(node_id: &str) -> HostRow {
    HostRow {
        id: HostId::new(Uuid::from_u128(u128::from(node_id.as_bytes()[0]))),
        node_id: node_id.to_owned(),
        capacity: 8,
        allocated_count: 1,
        enabled: true,
        last_health_check: Some(ago(1)),
        set_aside_until: None,
        failed_moves: 0,
        is_lost: false,
        metadata: Metadata::default(),
        created_at: ago(10_000),
        updated_at: ago(1),
    }
}

pub(crate) fn host(node_id: &str, inspection: HostInspection) -> InspectedHost {
    InspectedHost {
        row: host_row(node_id),
        inspection,
    }
}

pub(crate) fn observed(engine: Result<EngineObservation, HostReadError>) -> HostObservation {
    HostObservation {
        at: now(),
        latency_ms: 12,
        pinned_by_this_run: false,
        facts: HostFacts::default(),
        engine,
    }
}

pub(crate) fn reached(engine: Result<EngineObservation, HostReadError>) -> HostInspection {
    HostInspection::Observed(Box::new(observed(engine)))
}

pub(crate) fn read(containers: Vec<ContainerObservation>) -> HostInspection {
    reached(Ok(EngineObservation {
        version: Some("27.5.1".to_owned()),
        containers,
        networks: Vec::new(),
    }))
}

pub(crate) fn failed(error: HostReadError) -> HostInspection {
    HostInspection::Failed { at: now(), error }
}

pub(crate) fn unreachable() -> HostInspection {
    failed(HostReadError::Unreachable)
}

pub(crate) fn id(n: u128) -> AgentId {
    AgentId::new(Uuid::from_u128(n))
}

/// Agent `n`, running on this host, with a heartbeat a minute ago.
pub(crate) fn agent(n: u128, node_id: &str) -> AgentRow {
    AgentRow {
        id: id(n),
        sandbox_id: Some(format!("sandbox-{n}")),
        agent_name: Some(format!("Ada {n}")),
        organization_id: OrganizationId::new(Uuid::from_u128(0xa)),
        user_id: UserId::new(Uuid::from_u128(0xb)),
        node_id: Some(node_id.to_owned()),
        container_name: Some(name(id(n))),
        status: AgentStatus::Running,
        docker_image: Some("milady/agent:cloud-full-ui".to_owned()),
        last_heartbeat_at: Some(ago(1)),
        error_message: None,
        error_count: 0,
        created_at: ago(10_000),
        updated_at: ago(1),
    }
}

pub(crate) fn stopped(n: u128, node_id: &str) -> AgentRow {
    AgentRow {
        status: AgentStatus::Stopped,
        container_name: None,
        ..agent(n, node_id)
    }
}

/// The container of agent `n`, created an hour ago.
pub(crate) fn container(n: u128, state: &str) -> ContainerObservation {
    let status = match state {
        "running" => "Up About an hour (healthy)",
        "paused" => "Up About an hour (Paused)",
        "exited" => "Exited (0) 5 minutes ago",
        other => other,
    };
    ContainerObservation {
        id: format!("c{n}"),
        name: name(id(n)),
        image: "milady/agent:cloud-full-ui".to_owned(),
        state: state.to_owned(),
        status: status.to_owned(),
        health: None,
        created_at: ago(60),
        label: Some(id(n).to_string()),
        attempt: None,
        data_bind: None,
    }
}

/// A running container with this name and this value of our label.
pub(crate) fn named_container(name: &str, label: Option<&str>) -> ContainerObservation {
    ContainerObservation {
        id: format!("id of {name}"),
        name: name.to_owned(),
        label: label.map(str::to_owned),
        ..container(99, "running")
    }
}

/// Host `a` has a responding agent, a silent one, and a second container of an agent that lives on host `b`,
/// which does not answer.
pub(crate) fn example_run() -> FleetReading {
    let silent = AgentRow {
        last_heartbeat_at: Some(ago(16)),
        error_message: Some("no answer from 100.64.0.9:31337".to_owned()),
        error_count: 2,
        ..agent(2, "a")
    };
    let pending = AgentRow {
        sandbox_id: None,
        node_id: None,
        container_name: None,
        docker_image: None,
        last_heartbeat_at: None,
        status: AgentStatus::Pending,
        ..agent(4, "")
    };
    let mut observation = observed(Ok(EngineObservation {
        version: Some("27.5.1".to_owned()),
        containers: vec![
            container(3, "running"),
            container(2, "running"),
            container(1, "running"),
        ],
        networks: Vec::new(),
    }));
    observation.facts = HostFacts {
        load_1m_hundredths: Some(205),
        cpus: Some(4),
        memory_used_percent: Some(61),
        disk_used_percent: Some(86),
        docker_disk_used_percent: None,
        io_pressure_percent: Some(3),
        packet_filter: PacketFilter::Unknown,
    };
    let mut a = host("a", HostInspection::Observed(Box::new(observation)));
    let metadata = serde_json::json!({
        "region": "eu", "publishAddress": "0.0.0.0", "dockerSocket": "/run/d.sock",
    });
    a.row.metadata = serde_json::from_value(metadata).expect("metadata");
    a.row.allocated_count = 2;
    let b = host("b", failed(HostReadError::TimedOut));
    FleetReading {
        hosts: vec![b, a],
        agents: vec![silent, agent(1, "a"), agent(3, "b"), pending],
        backlog: Backlog {
            starts: LaneBacklog {
                due: 1,
                running: 2,
                oldest_due_at: Some(ago(3)),
            },
            ..Backlog::default()
        },
        ..FleetReading::default()
    }
}
