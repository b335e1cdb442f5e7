//! Fleets of any size, as one pass would have found them, and their snapshots.

use chrono::{DateTime, TimeDelta, Utc};
use shared::domain::agent::AgentStatus;
use shared::domain::container;
use shared::domain::fleet::{
    AgentRow, Docker, Found, Metadata, NodePass, NodeRow, Pass, Reading, Snapshot, Visit,
};
use shared::domain::observation::Unread;
use shared::domain::placement::HostFacts;
use uuid::Uuid;

/// The name of host `n`.
#[must_use]
pub fn host(n: usize) -> String {
    format!("host-{n:04}")
}

/// The id of agent `n` of all.
#[must_use]
pub fn agent_id(n: usize) -> Uuid {
    Uuid::from_u128(0x4000_8000_0000_0000_0000 + n as u128)
}

/// So many hosts with so many agents each, all well but those of every twentieth host, which is silent;
/// and one agent that waits to be started.
#[must_use]
pub fn pass(hosts: usize, agents: usize, now: DateTime<Utc>) -> Pass {
    let mut pass = Pass::default();
    for n in 0..hosts {
        let here: Vec<AgentRow> = (0..agents)
            .map(|of_host| agent(n * agents + of_host, &host(n), now))
            .collect();
        let found = here.iter().map(|agent| found(agent, now)).collect();
        let reading = if n % 20 == 19 {
            let why = Unread::TimedOut;
            Reading::Refused { at: now, why }
        } else {
            read(found, now)
        };
        pass.nodes.push(node(n, agents, reading, now));
        pass.agents.extend(here);
    }
    pass.agents.push(AgentRow {
        node_id: None,
        container_name: None,
        status: AgentStatus::Pending,
        ..agent(hosts * agents, "", now)
    });
    pass
}

/// The snapshot of such a pass.
#[must_use]
pub fn snapshot(hosts: usize, agents: usize, now: DateTime<Utc>) -> Snapshot {
    Snapshot::of(&pass(hosts, agents, now), now)
}

/// A host that told its facts and its containers.
#[must_use]
pub fn read(containers: Vec<Found>, now: DateTime<Utc>) -> Reading {
    let facts = HostFacts {
        load_1m_hundredths: Some(205),
        cpus: Some(16),
        memory_used_percent: Some(61),
        disk_used_percent: Some(42),
        io_pressure_percent: Some(3),
    };
    Reading::Reached(Box::new(Visit {
        at: now,
        latency_ms: 12,
        pinned_now: false,
        facts,
        docker: Ok(Docker {
            version: Some("27.5.1".to_owned()),
            containers,
        }),
    }))
}

fn node(n: usize, agents: usize, reading: Reading, now: DateTime<Utc>) -> NodePass {
    let taken = i32::try_from(agents).expect("a count");
    NodePass {
        row: NodeRow {
            id: Uuid::from_u128(0x4000_9000_0000_0000_0000 + n as u128),
            node_id: host(n),
            capacity: taken + 1,
            allocated_count: taken,
            enabled: true,
            last_health_check: Some(now - TimeDelta::minutes(1)),
            metadata: Metadata::default(),
            created_at: now - TimeDelta::days(30),
            updated_at: now,
        },
        reading,
    }
}

/// Agent `n` of all, running on a host and heard a minute ago.
#[must_use]
pub fn agent(n: usize, host: &str, now: DateTime<Utc>) -> AgentRow {
    let id = agent_id(n);
    AgentRow {
        id,
        sandbox_id: Some(format!("sandbox-{n}")),
        agent_name: Some(format!("Agent {n}")),
        organization_id: Uuid::from_u128(0xa),
        user_id: Uuid::from_u128(0xb),
        node_id: Some(host.to_owned()),
        container_name: Some(container::name(id)),
        status: AgentStatus::Running,
        docker_image: Some("milady/agent:cloud-full-ui".to_owned()),
        last_heartbeat_at: Some(now - TimeDelta::minutes(1)),
        error_message: None,
        error_count: 0,
        created_at: now - TimeDelta::days(7),
        updated_at: now,
    }
}

/// The agent's container, running for an hour.
#[must_use]
pub fn found(agent: &AgentRow, now: DateTime<Utc>) -> Found {
    Found {
        id: format!("{:064x}", agent.id.as_u128()),
        name: container::name(agent.id),
        image: "milady/agent:cloud-full-ui".to_owned(),
        state: "running".to_owned(),
        status: "Up About an hour (healthy)".to_owned(),
        health: None,
        created_at: now - TimeDelta::hours(1),
        label: Some(agent.id.to_string()),
    }
}
