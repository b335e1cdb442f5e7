//! The container of an agent as it is created. Owns: its rights, its labels and its mount. Does not own: its
//! limits and its environment (`domain::container`).

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
    PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use crate::domain::container::ResourceLimits;
use crate::domain::redacted::debug_without_secrets;

pub(super) const LABEL_AGENT: &str = "milady.agent";
pub(super) const LABEL_ORGANIZATION: &str = "milady.organization";
pub(super) const LABEL_ATTEMPT: &str = "milady.attempt";
pub(super) const LABEL_JOB: &str = "milady.job";
/// Marks a container through which the volume of the named agent is read.
const LABEL_READER: &str = "milady.copy";

/// The network of all agents. It does not let them reach each other.
pub(super) const NETWORK: &str = "milady-agents";

/// The directory in the container where an agent keeps its data.
pub(super) const DATA_PATH: &str = "/app/data";
/// Where that directory is.
pub(super) const DATA_PARENT_PATH: &str = "/app";

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
#[derive(Clone)]
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
    /// The job that creates the container.
    pub job_id: String,
    /// Its attempt.
    pub attempt: i32,
    /// Data is copied into the volume before the container is started: the engine does not fill it with what the image has
    /// there.
    pub receives_data: bool,
    pub limits: ResourceLimits,
    /// How much the container's own files and its volume may each hold. `None` on hosts whose file system has no quotas:
    /// there Docker refuses a container with such a limit.
    pub disk_bytes: Option<u64>,
}

debug_without_secrets!(ContainerSpec: name, image, ports, data, attempt, limits);

/// The labels that mark a container and its volume as made by this product.
pub(super) fn labels(spec: &ContainerSpec) -> HashMap<String, String> {
    [
        (LABEL_AGENT, spec.agent_id.clone()),
        (LABEL_ORGANIZATION, spec.organization_id.clone()),
        (LABEL_JOB, spec.job_id.clone()),
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

/// A container that is never started: through it a volume is read.
#[derive(Clone, Copy, Debug)]
pub struct DataReader<'a> {
    pub name: &'a str,
    /// Any image will do.
    pub image: &'a str,
    pub volume: &'a str,
    pub agent_id: &'a str,
}

pub(super) fn reader_body(reader: DataReader<'_>) -> ContainerCreateBody {
    let label = (LABEL_READER.to_owned(), reader.agent_id.to_owned());
    ContainerCreateBody {
        image: Some(reader.image.to_owned()),
        // An engine refuses a container without a command, and an image may have none.
        entrypoint: Some(vec!["none".to_owned()]),
        labels: Some(HashMap::from([label])),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            mounts: Some(vec![Mount {
                target: Some(DATA_PATH.to_owned()),
                source: Some(reader.volume.to_owned()),
                typ: Some(MountType::VOLUME),
                read_only: Some(true),
                ..Mount::default()
            }]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The option that limits a container's own files, and its volume.
pub(super) fn size_option(bytes: u64) -> HashMap<String, String> {
    HashMap::from([("size".to_owned(), bytes.to_string())])
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
        // Memory and swap together: without this, Docker allows as much swap again (F76).
        memory_swap: spec.limits.memory_bytes,
        storage_opt: spec.disk_bytes.map(size_option),
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
            volume_options: spec.receives_data.then(|| MountVolumeOptions {
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        }]),
        ..HostConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::container::AGENT_LIMITS;

    fn config(disk_bytes: Option<u64>) -> HostConfig {
        let spec = ContainerSpec {
            name: "milady-1".to_owned(),
            image: "milady/agent:1".to_owned(),
            environment: Vec::new(),
            ports: Vec::new(),
            data: DataMount::Volume("milady-1".to_owned()),
            agent_id: "1".to_owned(),
            organization_id: "2".to_owned(),
            job_id: "3".to_owned(),
            attempt: 1,
            receives_data: false,
            limits: AGENT_LIMITS,
            disk_bytes,
        };
        host_config(&spec, PortBindings::new())
    }

    #[test]
    fn f76_a_container_gets_no_swap_and_a_disk_limit_only_where_the_host_has_quotas() {
        let unlimited = config(None);
        assert_eq!(unlimited.memory, Some(2 << 30));
        assert_eq!(unlimited.memory_swap, unlimited.memory);
        assert_eq!(unlimited.storage_opt, None);
        // Some runtimes refuse to start a container with a weight.
        assert_eq!(unlimited.blkio_weight, None);
        let limited = config(Some(10 << 30)).storage_opt;
        let expected = HashMap::from([("size".to_owned(), "10737418240".to_owned())]);
        assert_eq!(limited, Some(expected));
    }
}
