//! The one form of container there is. Owns: its limits, its rights and its labels.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};

use super::docker::NETWORK;

/// Labels of what is ours.
pub(super) const LABEL_AGENT: &str = "milady.agent";
const LABEL_ORGANIZATION: &str = "milady.organization";
pub(super) const LABEL_ATTEMPT: &str = "milady.attempt";
/// What a process in a container may do beyond an ordinary user's rights: what images that drop their
/// rights at start need, and nothing else.
const CAPABILITIES: [&str; 7] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
];

/// Where an agent finds its data.
pub(super) const DATA: &str = "/app/data";

/// What a container may use of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub memory: i64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Processes and threads.
    pub pids: i64,
}

/// A port of the container, published on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Inside.
    pub container: u16,
    /// Outside.
    pub host: u16,
    /// The host's address it is published on.
    pub address: String,
}

/// Where an agent's data are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In a volume of this name.
    Volume(String),
    /// In this directory of the host, where an older deployment put them.
    Directory(String),
}

/// A container to be created.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// `milady-<agent id>`.
    pub name: String,
    /// The image.
    pub image: String,
    /// `NAME=value`, byte for byte.
    pub environment: Vec<String>,
    /// Its ports.
    pub ports: Vec<Published>,
    /// What is at `/app/data`.
    pub data: Data,
    /// Of which agent.
    pub agent_id: String,
    /// Whose.
    pub organization_id: String,
    /// The attempt of the job that makes it.
    pub attempt: i32,
    /// What it may use.
    pub limits: Limits,
}

/// By these a container and its volume are known as ours.
pub(super) fn labels(spec: &ContainerSpec) -> HashMap<String, String> {
    [
        (LABEL_AGENT, spec.agent_id.clone()),
        (LABEL_ORGANIZATION, spec.organization_id.clone()),
        (LABEL_ATTEMPT, spec.attempt.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What the engine is told of it.
pub(super) fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let port = |port: u16| format!("{port}/tcp");
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for published in &spec.ports {
        let binding = PortBinding {
            host_ip: Some(published.address.clone()),
            host_port: Some(published.host.to_string()),
        };
        let known = bindings.entry(port(published.container)).or_default();
        known.get_or_insert_default().push(binding);
    }
    let (kind, source) = match &spec.data {
        Data::Volume(name) => (MountType::VOLUME, name),
        Data::Directory(path) => (MountType::BIND, path),
    };
    let exposed = bindings.keys().cloned().collect();
    let log = [("max-size", "10m"), ("max-file", "3")];
    let host = HostConfig {
        memory: Some(spec.limits.memory),
        nano_cpus: Some(spec.limits.nano_cpus),
        pids_limit: Some(spec.limits.pids),
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
            config: Some(
                log.map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            ),
        }),
        mounts: Some(vec![Mount {
            target: Some(DATA.to_owned()),
            source: Some(source.clone()),
            typ: Some(kind),
            ..Mount::default()
        }]),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        env: Some(spec.environment.clone()),
        labels: Some(labels(spec)),
        exposed_ports: Some(exposed),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}
