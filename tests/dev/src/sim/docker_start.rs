//! What a simulated engine does when an agent is started: its network, its container.
//! Owns which of these it refuses, and in Docker's own words.

use hyper::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Fault;
use super::docker_json;
use super::script::{Container, Script};
use super::store;

/// An agent's web port inside its container.
const WEB_PORT: &str = "2138/tcp";
const BRIDGE_PORT: &str = "31337/tcp";
const NANO_CPUS: i64 = 1_000_000_000;

/// An error of the engine.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

pub(super) fn networks(script: &Script) -> Value {
    match script.fault {
        Some(Fault::NoAddressPools) => json!([]),
        _ => json!([docker_json::network()]),
    }
}

/// The network is only created if there is none, and there is none only if it cannot be created.
pub(super) fn create_network() -> Result<Value, Refusal> {
    Err(Refusal::new(
        StatusCode::NOT_FOUND,
        "all predefined address pools have been fully subnetted",
    ))
}

/// Creates a container that does not run yet.
pub(super) fn create_container(
    script: &mut Script,
    name: &str,
    settings: &Value,
) -> Result<Value, Refusal> {
    if script.fault == Some(Fault::DockerDiskFull) {
        let message = "write /var/lib/docker/tmp: no space left on device";
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message));
    }
    let host_config = &settings["HostConfig"];
    let nano_cpus = host_config["NanoCpus"].as_i64();
    let cpus = i64::try_from(script.facts.cpus).unwrap_or(i64::MAX);
    if nano_cpus.is_some_and(|nano_cpus| nano_cpus > cpus.saturating_mul(NANO_CPUS)) {
        let message = format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        );
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    let image = settings["Image"].as_str().unwrap_or_default();
    let Some(image_id) = store::image_id(script, image) else {
        let message = format!("No such image: {image}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, message));
    };
    if let Some(holder) = script.find(name) {
        let id = &holder.id;
        let message = format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to \
            remove (or rename) that container to be able to reuse that name."
        );
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let id = hex::encode(Sha256::digest(Uuid::new_v4().as_bytes()));
    let port = |port: &str| {
        let published = host_config["PortBindings"][port][0]["HostPort"].as_str();
        published.and_then(|port| port.parse().ok())
    };
    let labels = settings["Labels"].as_object().into_iter().flatten();
    let labels =
        labels.filter_map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned())));
    let container = Container {
        labels: labels.collect(),
        web_port: port(WEB_PORT),
        bridge_port: port(BRIDGE_PORT),
        image_id,
        nano_cpus,
        memory_bytes: host_config["Memory"].as_i64(),
        ..Container::new(name)
            .id(&id)
            .image(image)
            .state("created", "Created")
    };
    script.containers.push(container);
    Ok(json!({"Id": id, "Warnings": []}))
}
