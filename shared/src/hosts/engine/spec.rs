//! The container of an agent as it is created. Owns: its rights, its labels and its mount. Does not own: its
//! limits and its environment (`domain::container`).

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};

use crate::domain::container::ResourceLimits;

pub(super) const LABEL_AGENT: &str = "milady.agent";
const LABEL_ORGANIZATION: &str = "milady.organization";
pub(super) const LABEL_ATTEMPT: &str = "milady.attempt";

/// The network of all agents. It does not let them reach each other.
pub(super) const NETWORK: &str = "milady-agents";

/// The directory in the container where an agent keeps its data.
pub(super) const DATA_PATH: &str = "/app/data";

/// Only the capabilities that images need which start as root and then drop their rights.
const CAPABILITIES: [&str; 7] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
];

/// A port of the container, published on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    pub container: u16,
    pub host: u16,
    /// The address of the host that the port is published on.
    pub address: String,
}

/// What is mounted at `/app/data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataMount {
    /// A volume of this name.
    Volume(String),
    /// A directory of the host, where an older deployment kept the data.
    Directory(String),
}

/// A container to be created.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// `milady-<agent id>`.
    pub name: String,
    pub image: String,
    /// `NAME=value`, passed on byte for byte.
    pub environment: Vec<String>,
    pub ports: Vec<PublishedPort>,
    pub data: DataMount,
    pub agent_id: String,
    pub organization_id: String,
    /// The attempt of the job that creates the container.
    pub attempt: i32,
    pub limits: ResourceLimits,
}

/// The labels that mark a container and its volume as made by this product.
pub(super) fn labels(spec: &ContainerSpec) -> HashMap<String, String> {
    [
        (LABEL_AGENT, spec.agent_id.clone()),
        (LABEL_ORGANIZATION, spec.organization_id.clone()),
        (LABEL_ATTEMPT, spec.attempt.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub(super) fn create_body(spec: &ContainerSpec) -> ContainerCreateBody {
    let bindings = port_bindings(spec);
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        env: Some(spec.environment.clone()),
        labels: Some(labels(spec)),
        exposed_ports: Some(bindings.keys().cloned().collect()),
        host_config: Some(host_config(spec, bindings)),
        ..ContainerCreateBody::default()
    }
}

type PortBindings = HashMap<String, Option<Vec<PortBinding>>>;

fn port_bindings(spec: &ContainerSpec) -> PortBindings {
    let mut bindings = PortBindings::new();
    for port in &spec.ports {
        let binding = PortBinding {
            host_ip: Some(port.address.clone()),
            host_port: Some(port.host.to_string()),
        };
        bindings
            .entry(format!("{}/tcp", port.container))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    bindings
}

fn host_config(spec: &ContainerSpec, bindings: PortBindings) -> HostConfig {
    let (mount_type, source) = match &spec.data {
        DataMount::Volume(name) => (MountType::VOLUME, name),
        DataMount::Directory(path) => (MountType::BIND, path),
    };
    // 10 MB in three files: an agent that logs without end must not fill the host's disk.
    let log_options = [("max-size", "10m"), ("max-file", "3")];
    let log_options = log_options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    HostConfig {
        memory: spec.limits.memory_bytes,
        nano_cpus: spec.limits.nano_cpus,
        pids_limit: spec.limits.pids,
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        privileged: Some(false),
        network_mode: Some(NETWORK.to_owned()),
        port_bindings: Some(bindings),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(log_options.into()),
        }),
        mounts: Some(vec![Mount {
            target: Some(DATA_PATH.to_owned()),
            source: Some(source.clone()),
            typ: Some(mount_type),
            ..Mount::default()
        }]),
        ..HostConfig::default()
    }
}
