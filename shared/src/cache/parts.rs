//! The parts of a snapshot: one for the fleet, then one per host with the agents on it. A host with many
//! agents can fill an item of `DynamoDB`; the fleet would not fit into one.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CacheError;
use super::client::{unreadable, unreadable_by};
use super::stored::{FleetPart, HostPart};
use crate::domain::fleet::{AgentReport, FleetSnapshot};

/// For one part when it is decompressed. No part that we write comes near it; garbage must not fill the
/// memory.
const MAX_PART_BYTES: u64 = 64 << 20;

/// The parts of a snapshot, each compressed.
pub(super) fn split(snapshot: &FleetSnapshot) -> Result<Vec<Vec<u8>>, CacheError> {
    let hosts = snapshot.hosts.iter();
    let registered: HashSet<&str> = hosts.map(|host| host.node_id.as_str()).collect();
    let mut agents_by_host: HashMap<Option<&str>, Vec<AgentReport>> = HashMap::new();
    for agent in &snapshot.agents {
        let node_id = agent.node_id.as_deref();
        let node_id = node_id.filter(|node_id| registered.contains(node_id));
        agents_by_host
            .entry(node_id)
            .or_default()
            .push(agent.clone());
    }
    let mut parts = Vec::with_capacity(snapshot.hosts.len() + 1);
    parts.push(pack(&FleetPart {
        refreshed_at: snapshot.refreshed_at,
        summary: snapshot.summary.clone(),
        incidents: snapshot.incidents.clone(),
        agents: agents_by_host.remove(&None).unwrap_or_default(),
    })?);
    for host in &snapshot.hosts {
        let agents = agents_by_host.remove(&Some(host.node_id.as_str()));
        parts.push(pack(&HostPart {
            host: host.clone(),
            agents: agents.unwrap_or_default(),
        })?);
    }
    Ok(parts)
}

/// The inverse of [`split`].
pub(super) fn join(parts: &[Vec<u8>]) -> Result<FleetSnapshot, CacheError> {
    let (fleet, host_parts) = parts
        .split_first()
        .ok_or_else(|| unreadable("the snapshot has no parts"))?;
    let fleet: FleetPart = unpack(fleet)?;
    let mut agents = fleet.agents;
    let mut hosts = Vec::with_capacity(host_parts.len());
    for part in host_parts {
        let part: HostPart = unpack(part)?;
        hosts.push(part.host);
        agents.extend(part.agents);
    }
    agents.sort_by(|one, other| (&one.node_id, one.id).cmp(&(&other.node_id, other.id)));
    Ok(FleetSnapshot {
        refreshed_at: fleet.refreshed_at,
        summary: fleet.summary,
        incidents: fleet.incidents,
        hosts,
        agents,
    })
}

fn pack(part: &impl Serialize) -> Result<Vec<u8>, CacheError> {
    let json = serde_json::to_vec(part).map_err(unreadable_by("a part has no JSON form"))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(&json).and_then(|()| encoder.finish());
    compressed.map_err(unreadable_by("a part cannot be compressed"))
}

fn unpack<T: DeserializeOwned>(part: &[u8]) -> Result<T, CacheError> {
    let mut json = Vec::new();
    let mut decoder = GzDecoder::new(part).take(MAX_PART_BYTES + 1);
    let length = decoder.read_to_end(&mut json);
    let length = length.map_err(unreadable_by("a part is not compressed"))?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_PART_BYTES) {
        return Err(unreadable("a part is too long"));
    }
    serde_json::from_slice(&json).map_err(unreadable_by("a part is not in the stored form"))
}
