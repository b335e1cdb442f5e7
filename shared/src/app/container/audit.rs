//! The audit of containers: what is on the hosts compared with what the rows say, now. It changes nothing. Owns:
//! which hosts are read, the time limit, and that rows are read after hosts, because a start writes its container's
//! name into the row before it creates the container. Does not own: which containers are unclaimed and which are
//! missing (`domain::fleet`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use tokio::time::timeout_at;

use crate::app::error::RequestError;
use crate::app::fleet::inspect::{Questions, inspect};
use crate::app::fleet::run_clock::RunClock;
use crate::db;
use crate::db::Database;
use crate::db::hosts::inspection::FleetHost;
use crate::domain::container;
use crate::domain::fleet::{
    FleetReading, FleetSnapshot, HostInspection, HostReadError, InspectedHost, Shard,
    UnclaimedContainer,
};
use crate::domain::ids::AgentId;
use crate::hosts::HostClient;

/// How many hosts are read at the same time.
const MAX_CONCURRENT_HOSTS: usize = 16;
/// How long reading all hosts may take. The rest of the function's 29 s is for the rows and the answer.
const HOSTS_TIMEOUT: Duration = Duration::from_secs(18);

#[derive(Clone, Debug)]
pub struct FleetAudit {
    /// The enabled hosts, by name.
    pub hosts: Vec<HostAudit>,
    /// When the last host was read.
    pub audited_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct HostAudit {
    pub node_id: String,
    pub hostname: String,
    /// Why the host was not read; `None` if it was. Nothing is said to be missing on a host that was not read (F19).
    pub error: Option<HostReadError>,
    /// Containers that no row claims.
    pub unclaimed_containers: Vec<UnclaimedContainer>,
    /// Rows whose container is not on the host.
    pub missing_containers: Vec<MissingContainer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingContainer {
    pub agent_id: AgentId,
    pub container_name: String,
}

/// Reads every enabled host and compares it with the rows. A host that does not answer is part of the result.
pub async fn container_audit(
    pool: &Database,
    hosts: &HostClient,
) -> Result<FleetAudit, RequestError> {
    let deadline = Instant::now() + HOSTS_TIMEOUT;
    let whole_fleet = Shard::default();
    let mut conn = pool.statements();
    let clock = RunClock::start(db::clock::billing_clock(&mut conn).await?);
    let mut fleet = db::hosts::inspection::hosts_of_shard(&mut conn, &whole_fleet).await?;
    drop(conn);
    fleet.retain(|host| host.row.enabled);
    let mut inspections = inspect_hosts(pool, hosts, &fleet, clock, deadline).await;
    let mut conn = pool.statements();
    let agents = db::hosts::inspection::agents_of_any_organization(&mut conn, &whole_fleet).await?;
    drop(conn);
    let hostnames = fleet
        .iter()
        .map(|host| (host.row.node_id.clone(), host.coordinates.hostname.clone()))
        .collect();
    let hosts = fleet.into_iter().map(|host| InspectedHost {
        inspection: inspections
            .remove(&host.row.node_id)
            .unwrap_or(HostInspection::NotInspected),
        row: host.row,
    });
    let run = FleetReading {
        hosts: hosts.collect(),
        agents,
        ..FleetReading::default()
    };
    let audited_at = clock.now();
    Ok(FleetAudit {
        hosts: compare(&run, hostnames, audited_at),
        audited_at,
    })
}

/// The inspections that ended before the deadline, by host.
async fn inspect_hosts(
    pool: &Database,
    hosts: &HostClient,
    fleet: &[FleetHost],
    clock: RunClock,
    deadline: Instant,
) -> HashMap<String, HostInspection> {
    // The closure owns its host: a future that borrows it through the closure is not `Send`.
    let inspections = stream::iter(fleet.to_vec()).map(|host| async move {
        let inspected = inspect(
            pool,
            hosts,
            &host.coordinates,
            Questions::default(),
            clock,
            deadline,
        )
        .await;
        (host.row.node_id, inspected.inspection)
    });
    let mut inspections = inspections.buffer_unordered(MAX_CONCURRENT_HOSTS);
    let mut by_host = HashMap::with_capacity(fleet.len());
    while let Ok(Some((node_id, inspection))) =
        timeout_at(deadline.into(), inspections.next()).await
    {
        by_host.insert(node_id, inspection);
    }
    by_host
}

fn compare(
    run: &FleetReading,
    mut hostnames: HashMap<String, String>,
    now: DateTime<Utc>,
) -> Vec<HostAudit> {
    let snapshot = FleetSnapshot::of(run, now);
    let mut missing: HashMap<String, Vec<MissingContainer>> = HashMap::new();
    for agent in snapshot.agents {
        if let (true, Some(node_id)) = (agent.is_missing(), agent.node_id) {
            let container_name = agent.container_name;
            missing.entry(node_id).or_default().push(MissingContainer {
                agent_id: agent.id,
                container_name: container_name.unwrap_or_else(|| container::name(agent.id)),
            });
        }
    }
    let hosts = snapshot.hosts.into_iter().map(|host| HostAudit {
        hostname: hostnames.remove(&host.node_id).unwrap_or_default(),
        error: host.runtime.error,
        unclaimed_containers: host.unclaimed_containers,
        missing_containers: missing.remove(&host.node_id).unwrap_or_default(),
        node_id: host.node_id,
    });
    hosts.collect()
}
