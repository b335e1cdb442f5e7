//! Hosts, agents and containers for tests.

use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::domain::agent::AgentStatus;
use crate::domain::container::name;
use crate::domain::observation::Unread;
use crate::domain::placement::HostFacts;

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

pub(super) fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

/// An enabled host of 8 slots, 1 of them taken.
pub(super) fn node(node_id: &str, reading: Reading) -> NodePass {
    NodePass {
        row: NodeRow {
            id: Uuid::from_u128(u128::from(node_id.as_bytes()[0])),
            node_id: node_id.to_owned(),
            capacity: 8,
            allocated_count: 1,
            enabled: true,
            last_health_check: Some(ago(1)),
            metadata: Metadata::default(),
            created_at: ago(10_000),
            updated_at: ago(1),
        },
        reading,
    }
}

pub(super) fn visit(docker: Result<Docker, Unread>) -> Visit {
    Visit {
        at: now(),
        latency_ms: 12,
        pinned_now: false,
        facts: HostFacts::default(),
        docker,
    }
}

pub(super) fn reached(docker: Result<Docker, Unread>) -> Reading {
    Reading::Reached(Box::new(visit(docker)))
}

pub(super) fn read(containers: Vec<Found>) -> Reading {
    let version = Some("27.5.1".to_owned());
    reached(Ok(Docker {
        version,
        containers,
    }))
}

pub(super) fn unreachable() -> Reading {
    let why = Unread::Unreachable;
    Reading::Refused { at: now(), why }
}

pub(super) fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Agent `n`, running on this host and heard a minute ago.
pub(super) fn agent(n: u128, node_id: &str) -> AgentRow {
    AgentRow {
        id: id(n),
        sandbox_id: Some(format!("sandbox-{n}")),
        agent_name: Some(format!("Ada {n}")),
        organization_id: id(0xa),
        user_id: id(0xb),
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

pub(super) fn stopped(n: u128, node_id: &str) -> AgentRow {
    AgentRow {
        status: AgentStatus::Stopped,
        container_name: None,
        ..agent(n, node_id)
    }
}

/// Agent `n`'s container in this state, made by us an hour ago.
pub(super) fn container(n: u128, state: &str) -> Found {
    let status = match state {
        "running" => "Up About an hour (healthy)",
        "paused" => "Up About an hour (Paused)",
        "exited" => "Exited (0) 5 minutes ago",
        other => other,
    };
    Found {
        id: format!("c{n}"),
        name: name(id(n)),
        image: "milady/agent:cloud-full-ui".to_owned(),
        state: state.to_owned(),
        status: status.to_owned(),
        health: None,
        created_at: ago(60),
        label: Some(id(n).to_string()),
    }
}

pub(super) fn called(name: &str, label: Option<&str>) -> Found {
    Found {
        id: format!("id of {name}"),
        name: name.to_owned(),
        label: label.map(str::to_owned),
        ..container(99, "running")
    }
}
