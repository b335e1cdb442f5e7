//! What an engine says of containers. Owns: reading its answers value by value, so that one that this version does not
//! know never hides a container or a host. Sources: Docker's API reference, and the structures in Podman's
//! `pkg/api/handlers/compat`.

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

use super::spec::{DATA_PATH, LABEL_AGENT, LABEL_ATTEMPT};
use crate::domain::container::ResourceLimits;
use crate::domain::fleet::{ContainerEnd, ContainerObservation};

/// Docker's ids have 64 digits.
const MAX_ID_BYTES: usize = 128;

/// What Docker tells of one container beyond the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerRuntime {
    pub is_running: bool,
    /// How often Docker has restarted the container by its restart policy.
    pub restart_count: i64,
    pub limits: ResourceLimits,
    /// How it ended. Nothing of it is known while it runs again.
    pub end: ContainerEnd,
    /// When it ended last, by the host's clock; `None` if it has never ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// An entry of the list of containers. `None` if it has no id.
pub(super) fn of_list(entry: &Value) -> Option<ContainerObservation> {
    let created_at = entry["Created"].as_i64();
    let created_at = created_at.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let names = entry["Names"].as_array();
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let common = Common {
        id: id(&entry["Id"])?,
        name: own_name(names),
        image: &entry["Image"],
        state: &entry["State"],
        health: &entry["Health"]["Status"],
        labels: &entry["Labels"],
        mounts: &entry["Mounts"],
        created_at,
    };
    Some(common.observation(text(&entry["Status"])))
}

/// The details of one container. `None` if they have no id.
pub(super) fn of_details(details: &Value) -> Option<ContainerObservation> {
    let created_at = details["Created"].as_str();
    let common = Common {
        id: id(&details["Id"])?,
        name: own_name(details["Name"].as_str().into_iter()),
        image: &details["Config"]["Image"],
        state: &details["State"]["Status"],
        health: &details["State"]["Health"]["Status"],
        labels: &details["Config"]["Labels"],
        mounts: &details["Mounts"],
        created_at: created_at.and_then(|at| at.parse().ok()),
    };
    Some(common.observation(String::new()))
}

pub(super) fn runtime(details: &Value) -> ContainerRuntime {
    let state = &details["State"];
    let is_running = state["Running"].as_bool();
    let is_running = is_running.unwrap_or_else(|| state["Status"] == "running");
    // Docker counts a container as running while it waits to be started again, and then knows how it ended.
    let is_restarting = state["Restarting"] == true || state["Status"] == "restarting";
    let has_ended = is_restarting || !is_running;
    let limits = limits(&details["HostConfig"]);
    let finished_at = state["FinishedAt"].as_str();
    let finished_at = finished_at.and_then(|at| at.parse::<DateTime<Utc>>().ok());
    ContainerRuntime {
        is_running,
        restart_count: details["RestartCount"].as_i64().unwrap_or_default().max(0),
        limits,
        end: ContainerEnd {
            exit_code: state["ExitCode"].as_i64().filter(|_| has_ended),
            is_out_of_memory: has_ended && state["OOMKilled"] == true,
            memory_bytes: limits.memory_bytes,
        },
        // Docker writes Go's zero time, in the year 1, for "never".
        finished_at: finished_at.filter(|at| at.year() > 1),
    }
}

/// What a list and the details of a container say in the same words.
struct Common<'a> {
    id: &'a str,
    name: Option<&'a str>,
    image: &'a Value,
    state: &'a Value,
    health: &'a Value,
    labels: &'a Value,
    mounts: &'a Value,
    created_at: Option<DateTime<Utc>>,
}

impl Common<'_> {
    fn observation(&self, status: String) -> ContainerObservation {
        let attempt = self.labels[LABEL_ATTEMPT].as_str();
        ContainerObservation {
            id: self.id.to_owned(),
            // A container that is just being removed has no name any more.
            name: self.name.unwrap_or(self.id).to_owned(),
            image: text(self.image),
            state: text(self.state),
            status,
            health: self.health.as_str().map(str::to_owned),
            created_at: self.created_at.unwrap_or(DateTime::UNIX_EPOCH),
            label: self.labels[LABEL_AGENT].as_str().map(str::to_owned),
            attempt: attempt.and_then(|attempt| attempt.parse().ok()),
            data_bind: data_bind(self.mounts),
        }
    }
}

/// An id if it is a word: it becomes a part of paths, and of rows, which cannot hold every text. A row that the database
/// refuses would end the inspection of all hosts.
fn id(value: &Value) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    value
        .as_str()
        .filter(|id| (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(is_plain))
}

/// The container's own name, without Docker's slash. Among the names are those that other containers gave it when they
/// were linked to it: `/other/alias`.
fn own_name<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut names = names.map(|name| name.strip_prefix('/').unwrap_or(name));
    names.find(|name| !name.contains('/'))
}

/// The directory of the host that is mounted at the place of the agent's data.
fn data_bind(mounts: &Value) -> Option<String> {
    let mut mounts = mounts.as_array().into_iter().flatten();
    let bind = mounts.find(|mount| mount["Type"] == "bind" && mount["Destination"] == DATA_PATH)?;
    bind["Source"].as_str().map(str::to_owned)
}

/// Docker writes 0, null or a negative number where there is no limit.
fn limits(config: &Value) -> ResourceLimits {
    let limit = |name: &str| config[name].as_i64().filter(|number| *number > 0);
    ResourceLimits {
        memory_bytes: limit("Memory"),
        nano_cpus: limit("NanoCpus"),
        pids: limit("PidsLimit"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
