//! What is on the hosts against what the rows say, at this moment. Owns: which hosts are asked, in which
//! time, and that rows are read after hosts: a start names its container in its row before it makes it. Does
//! not own: what is a ghost, and what is missing (`domain::fleet`). It changes nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use sqlx::PgPool;
use tokio::time::timeout_at;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::fleet::inspect::{Watch, inspect};
use crate::db;
use crate::domain::container;
use crate::domain::fleet::{Ghost, NodePass, Pass, Reading, Snapshot};
use crate::hosts::Fleet;

/// Hosts that are asked at the same time.
const HOSTS_AT_ONCE: usize = 16;
/// What asking all of them may take; the rest is for reading the rows and answering.
const WITHIN: Duration = Duration::from_secs(18);

/// What was found.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The enabled hosts, by name.
    pub nodes: Vec<NodeAudit>,
    /// When it was over.
    pub audited_at: DateTime<Utc>,
}

/// What was found on one host.
#[derive(Clone, Debug)]
pub struct NodeAudit {
    /// Its name.
    pub node_id: String,
    /// Where it is.
    pub hostname: String,
    /// Why nothing is known of it; none = it was read.
    pub error: Option<String>,
    /// Containers that no row claims.
    pub ghosts: Vec<Ghost>,
    /// Rows whose containers are not there.
    pub orphans: Vec<Orphan>,
}

/// A row that expects a container on a host that was read and does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The row.
    pub id: Uuid,
    /// What its container is called.
    pub container_name: String,
}

/// Asks every enabled host, and compares.
///
/// # Errors
/// Database errors. A host that does not answer is none.
pub async fn container_audit(pool: &PgPool, fleet: &Fleet) -> Result<Audit, RequestError> {
    let until = Instant::now() + WITHIN;
    let mut conn = pool.acquire().await?;
    let watch = Watch::begin(db::clock::billing_clock(&mut conn).await?);
    let mut nodes = db::hosts::inspection::nodes_all(&mut conn).await?;
    drop(conn);
    nodes.retain(|node| node.row.enabled);
    // By value: a closure over references makes a future that cannot be sent.
    let looks = stream::iter(nodes.clone()).map(|node| async move {
        let inspected = inspect(pool, fleet, &node.node, &[], (watch, until)).await;
        (node.row.node_id, inspected.reading)
    });
    let mut looks = looks.buffer_unordered(HOSTS_AT_ONCE);
    let mut readings = HashMap::with_capacity(nodes.len());
    while let Ok(Some(look)) = timeout_at(until.into(), looks.next()).await {
        readings.extend([look]);
    }
    drop(looks);
    let mut conn = pool.acquire().await?;
    let agents = db::hosts::inspection::agents_all(&mut conn).await?;
    drop(conn);
    let hostnames: HashMap<String, String> = nodes
        .iter()
        .map(|node| (node.row.node_id.clone(), node.node.hostname.clone()))
        .collect();
    let nodes = nodes.into_iter().map(|node| NodePass {
        reading: readings
            .remove(&node.row.node_id)
            .unwrap_or(Reading::NotInspected),
        row: node.row,
    });
    let pass = Pass {
        nodes: nodes.collect(),
        agents,
        backlog: 0,
    };
    let audited_at = watch.now();
    Ok(Audit {
        nodes: compare(&pass, hostnames, audited_at),
        audited_at,
    })
}

/// What each host has too much, and what it lacks.
fn compare(
    pass: &Pass,
    mut hostnames: HashMap<String, String>,
    now: DateTime<Utc>,
) -> Vec<NodeAudit> {
    let snapshot = Snapshot::of(pass, now);
    let mut orphans: HashMap<String, Vec<Orphan>> = HashMap::new();
    for agent in snapshot.containers {
        if let (true, Some(node_id)) = (agent.is_orphan(), agent.node_id) {
            let name = agent.container_name;
            let container_name = name.unwrap_or_else(|| container::name(agent.id));
            let id = agent.id;
            let orphan = Orphan { id, container_name };
            orphans.entry(node_id).or_default().push(orphan);
        }
    }
    let nodes = snapshot.nodes.into_iter().map(|node| NodeAudit {
        hostname: hostnames.remove(&node.node_id).unwrap_or_default(),
        error: node.runtime.error,
        ghosts: node.ghost_containers,
        orphans: orphans.remove(&node.node_id).unwrap_or_default(),
        node_id: node.node_id,
    });
    nodes.collect()
}
