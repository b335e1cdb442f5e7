//! Builds the domain values of a fleet inspection: refresh runs of any size and their snapshots.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use shared::api::admin::fleet_render::{render_overview, render_sections};
use shared::cache::{FinishedSnapshot, NewRun, Section};
use shared::domain::agent::AgentStatus;
use shared::domain::container;
use shared::domain::fleet::{
    AgentRow, ContainerObservation, EngineObservation, FleetContext, FleetOverview, FleetReading,
    FleetSnapshot, HostFacts, HostInspection, HostObservation, HostReadError, HostRow,
    InspectedHost, Metadata, PacketFilter, Shard, ShardDigest,
};
use shared::domain::ids::{AgentId, HostId, OrganizationId, UserId};
use uuid::Uuid;

#[must_use]
pub fn host_name(n: usize) -> String {
    format!("host-{n:04}")
}

/// The id of agent `n`, counted over all hosts.
#[must_use]
pub fn agent_id(n: usize) -> AgentId {
    AgentId::new(Uuid::from_u128(0x4000_8000_0000_0000_0000 + n as u128))
}

/// A refresh run over this many hosts with this many agents each. Every twentieth host is
/// unreachable; all other agents are healthy. One more agent waits for its start.
#[must_use]
pub fn refresh_run(host_count: usize, agents_per_host: usize, now: DateTime<Utc>) -> FleetReading {
    let mut run = FleetReading::default();
    for n in 0..host_count {
        let agents_here: Vec<AgentRow> = (0..agents_per_host)
            .map(|index| agent(n * agents_per_host + index, &host_name(n), now))
            .collect();
        let containers = agents_here
            .iter()
            .map(|agent| container_observation(agent, now))
            .collect();
        let inspection = if n % 20 == 19 {
            let error = HostReadError::TimedOut;
            HostInspection::Failed { at: now, error }
        } else {
            inspected(containers, now)
        };
        run.hosts
            .push(inspected_host(n, agents_per_host, inspection, now));
        run.agents.extend(agents_here);
    }
    run.agents.push(AgentRow {
        node_id: None,
        container_name: None,
        status: AgentStatus::Pending,
        ..agent(host_count * agents_per_host, "", now)
    });
    run
}

/// The snapshot of [`refresh_run`].
#[must_use]
pub fn snapshot(host_count: usize, agents_per_host: usize, now: DateTime<Utc>) -> FleetSnapshot {
    FleetSnapshot::of(&refresh_run(host_count, agents_per_host, now), now)
}

/// What a refresh run shows with a snapshot, if it finds no organization.
#[must_use]
pub fn context() -> FleetContext {
    FleetContext {
        default_image: "milady/agent:cloud-full-ui".to_owned(),
        ..FleetContext::default()
    }
}

/// What a run over a shard that found this writes into the cache.
#[must_use]
pub fn new_run(
    shard: Shard,
    token: i64,
    snapshot: &FleetSnapshot,
    began_at: DateTime<Utc>,
) -> NewRun {
    NewRun {
        began_at,
        digest: ShardDigest::of(shard, token, snapshot),
        sections: sections(snapshot),
    }
}

/// A fleet in this many shards of about the same size.
#[must_use]
pub fn shards(reading: &FleetReading, count: i32) -> Vec<Shard> {
    let hosts = reading.hosts.iter();
    let mut names: Vec<&String> = hosts.map(|host| &host.row.node_id).collect();
    names.sort();
    let shards = usize::try_from(count).expect("a count");
    let first = |number: i32| {
        let index = usize::try_from(number).expect("an index") * names.len() / shards;
        (number > 0 && number < count).then(|| names[index].clone())
    };
    let shards = (0..count).map(|number| Shard {
        number,
        first: first(number),
        end: first(number + 1),
    });
    shards.collect()
}

/// What runs over the shards of a fleet find at a time.
pub fn shard_runs(
    reading: &FleetReading,
    shards: &[Shard],
    at: DateTime<Utc>,
    new_token: impl Fn() -> i64,
) -> Vec<NewRun> {
    let runs = shards.iter().map(|shard| {
        let mut part = FleetReading::default();
        let of_shard = |node_id: Option<&str>| shard.contains(node_id);
        for host in &reading.hosts {
            if of_shard(Some(&host.row.node_id)) {
                part.hosts.push(host.clone());
            }
        }
        for agent in &reading.agents {
            if of_shard(agent.node_id.as_deref()) {
                part.agents.push(agent.clone());
            }
        }
        new_run(
            shard.clone(),
            new_token(),
            &FleetSnapshot::of(&part, at),
            at,
        )
    });
    runs.collect()
}

/// What readers get after a run over the whole fleet that found this.
#[must_use]
pub fn finished(snapshot: &FleetSnapshot) -> FinishedSnapshot {
    let digest = ShardDigest::of(Shard::default(), 1, snapshot);
    let overview = FleetOverview::of(&[&digest], &[]).expect("an overview");
    FinishedSnapshot {
        overview: render_overview(&overview).expect("compressed JSON"),
        sections: sections(snapshot).into_iter().map(Arc::new).collect(),
    }
}

fn sections(snapshot: &FleetSnapshot) -> Vec<Section> {
    render_sections(snapshot, &context()).expect("compressed JSON")
}

/// A complete inspection of a host with these containers.
#[must_use]
pub fn inspected(containers: Vec<ContainerObservation>, now: DateTime<Utc>) -> HostInspection {
    let facts = HostFacts {
        load_1m_hundredths: Some(205),
        cpus: Some(16),
        memory_used_percent: Some(61),
        disk_used_percent: Some(42),
        docker_disk_used_percent: None,
        io_pressure_percent: Some(3),
        packet_filter: PacketFilter::Unknown,
    };
    HostInspection::Observed(Box::new(HostObservation {
        at: now,
        latency_ms: 12,
        pinned_by_this_run: false,
        facts,
        engine: Ok(EngineObservation {
            version: Some("27.5.1".to_owned()),
            containers,
            networks: Vec::new(),
        }),
    }))
}

fn inspected_host(
    n: usize,
    agents: usize,
    inspection: HostInspection,
    now: DateTime<Utc>,
) -> InspectedHost {
    let allocated = i32::try_from(agents).expect("a count");
    InspectedHost {
        row: HostRow {
            id: HostId::new(Uuid::from_u128(0x4000_9000_0000_0000_0000 + n as u128)),
            node_id: host_name(n),
            capacity: allocated + 1,
            allocated_count: allocated,
            enabled: true,
            last_health_check: Some(now - TimeDelta::minutes(1)),
            set_aside_until: None,
            failed_moves: 0,
            is_lost: false,
            metadata: Metadata::default(),
            created_at: now - TimeDelta::days(30),
            updated_at: now,
        },
        inspection,
    }
}

/// Agent `n`, which runs on a host and sent its last heartbeat a minute ago.
#[must_use]
pub fn agent(n: usize, host: &str, now: DateTime<Utc>) -> AgentRow {
    let id = agent_id(n);
    AgentRow {
        id,
        sandbox_id: Some(format!("sandbox-{n}")),
        agent_name: Some(format!("Agent {n}")),
        organization_id: OrganizationId::new(Uuid::from_u128(0xa)),
        user_id: UserId::new(Uuid::from_u128(0xb)),
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

/// The agent's container, which has run for an hour.
#[must_use]
pub fn container_observation(agent: &AgentRow, now: DateTime<Utc>) -> ContainerObservation {
    ContainerObservation {
        id: format!("{:064x}", agent.id.uuid().as_u128()),
        name: container::name(agent.id),
        image: "milady/agent:cloud-full-ui".to_owned(),
        state: "running".to_owned(),
        status: "Up About an hour (healthy)".to_owned(),
        health: None,
        created_at: now - TimeDelta::hours(1),
        label: Some(agent.id.to_string()),
        attempt: None,
        data_bind: None,
    }
}
