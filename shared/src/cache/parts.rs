//! A snapshot in parts, each compressed: one per host, with the agents there, and before them one with
//! the rest.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::CacheError;
use super::client::broken;
use crate::domain::fleet::{ContainerView, Incident, Moment, NodeView, Snapshot, Summary};

/// No part of ours is longer, by far.
const LONGEST: u64 = 64 << 20;

/// What is of no host. The type parameters are references when it is written.
#[derive(Serialize, Deserialize)]
struct Rest<S, I, C> {
    refreshed_at: Moment,
    summary: S,
    incidents: I,
    containers: C,
}

/// One host.
#[derive(Serialize, Deserialize)]
struct Host<N, C> {
    node: N,
    containers: C,
}

/// The parts of a snapshot.
pub(super) fn split(snapshot: &Snapshot) -> Result<Vec<Vec<u8>>, CacheError> {
    let known: HashSet<&str> = snapshot.nodes.iter().map(|n| n.node_id.as_str()).collect();
    let mut of_host: HashMap<Option<&str>, Vec<&ContainerView>> = HashMap::new();
    for container in &snapshot.containers {
        let host = container.node_id.as_deref().filter(|id| known.contains(id));
        of_host.entry(host).or_default().push(container);
    }
    let rest = Rest {
        refreshed_at: snapshot.refreshed_at,
        summary: &snapshot.summary,
        incidents: &snapshot.incidents,
        containers: of_host.remove(&None).unwrap_or_default(),
    };
    let mut parts = Vec::with_capacity(snapshot.nodes.len() + 1);
    parts.push(pack(&rest)?);
    for node in &snapshot.nodes {
        let containers = of_host.remove(&Some(node.node_id.as_str()));
        let containers = containers.unwrap_or_default();
        parts.push(pack(&Host { node, containers })?);
    }
    Ok(parts)
}

/// The snapshot of these parts.
pub(super) fn join(parts: &[Vec<u8>]) -> Result<Snapshot, CacheError> {
    let (rest, hosts) = parts
        .split_first()
        .ok_or_else(|| broken("a snapshot without parts"))?;
    let mut rest: Rest<Summary, Vec<Incident>, Vec<ContainerView>> = unpack(rest)?;
    let mut nodes = Vec::with_capacity(hosts.len());
    for host in hosts {
        let host: Host<NodeView, Vec<ContainerView>> = unpack(host)?;
        nodes.push(host.node);
        rest.containers.extend(host.containers);
    }
    let order = |c: &ContainerView| (c.node_id.clone(), c.id);
    rest.containers.sort_by_cached_key(order);
    Ok(Snapshot {
        refreshed_at: rest.refreshed_at,
        stale: false,
        summary: rest.summary,
        incidents: rest.incidents,
        nodes,
        containers: rest.containers,
    })
}

fn pack(part: &impl Serialize) -> Result<Vec<u8>, CacheError> {
    let text = serde_json::to_vec(part).map_err(|_| broken("a part has no JSON form"))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(&text).and_then(|()| encoder.finish());
    written.map_err(|_| broken("a part cannot be compressed"))
}

fn unpack<T: DeserializeOwned>(part: &[u8]) -> Result<T, CacheError> {
    let mut text = Vec::new();
    let mut decoder = GzDecoder::new(part).take(LONGEST + 1);
    let read = decoder.read_to_end(&mut text);
    let length = read.map_err(|_| broken("a part is not compressed"))?;
    if u64::try_from(length).is_ok_and(|length| length > LONGEST) {
        return Err(broken("a part is too long"));
    }
    serde_json::from_slice(&text).map_err(|_| broken("a part is none"))
}
