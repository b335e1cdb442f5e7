//! The JSON answers of a simulated host's engine, in Docker's format.

use std::iter::{once, repeat_n};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::script::{Container, DOCKER_ROOT, Script};
use super::store::Volume;

/// The chunk size of answers that are produced as they are read.
const CHUNK_BYTES: u64 = 16 * 1024;
/// The mount point of an agent's data.
const DATA_DIRECTORY: &str = "/app/data";
/// An agent's web port inside its container.
const WEB_PORT: u16 = 2138;

pub(super) fn version(script: &Script) -> Value {
    let version = &script.docker_version;
    let api = script.api_versions;
    json!({
        "Platform": {"Name": ""},
        "Components": [{"Name": "Engine", "Version": version, "Details": {"ApiVersion": api.newest_text()}}],
        "Version": version,
        "ApiVersion": api.newest_text(),
        "MinAPIVersion": api.oldest_text(),
        "GitCommit": "0000000",
        "GoVersion": "go1.19.8",
        "Os": "linux",
        "Arch": "amd64",
        "KernelVersion": "6.1.0",
        "BuildTime": "2023-05-18T08:38:34.000000000+00:00",
    })
}

/// What the engine says about itself and its host.
pub(super) fn info(script: &Script) -> Value {
    json!({
        "ServerVersion": script.docker_version,
        "NCPU": script.facts.cpus,
        "MemTotal": script.facts.memory_kib * 1024,
        "DockerRootDir": DOCKER_ROOT,
        "SystemTime": docker_timestamp(Utc::now() + script.clock_ahead),
        "Containers": script.containers.len(),
        "Images": script.images.len(),
        "Driver": "overlay2",
        "OSType": "linux",
    })
}

/// The network of the agents.
pub(super) fn network() -> Value {
    json!({
        "Name": "milady-agents",
        "Id": "0".repeat(64),
        "Driver": "bridge",
        "Scope": "local",
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
    })
}

pub(super) fn volume(volume: &Volume) -> Value {
    json!({
        "Name": volume.name,
        "Driver": "local",
        "CreatedAt": "2026-01-01T00:00:00Z",
        "Mountpoint": format!("{DOCKER_ROOT}/volumes/{}/_data", volume.name),
        "Labels": volume.labels,
        "Scope": "local",
        "Options": {},
    })
}

/// A container as an entry of a list.
pub(super) fn list_entry(container: &Container, script: &Script) -> Value {
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.name)],
        "Image": container.image,
        "ImageID": container.image_id,
        "Command": "/agent",
        "Created": created_at(container, script).timestamp(),
        "Ports": ports(container),
        "Labels": container.labels,
        "State": container.state,
        "Status": container.status,
        "HostConfig": {"NetworkMode": "milady-agents"},
        "NetworkSettings": {"Networks": {}},
        "Mounts": mounts(container),
    })
}

/// The details of a container.
pub(super) fn details(container: &Container, script: &Script) -> Value {
    let is = |state: &str| container.state == state;
    let running = container.is_up();
    let at = docker_timestamp(created_at(container, script));
    // Docker writes the year 1 for "never".
    let time = |at: Option<DateTime<Utc>>| match at {
        Some(at) => docker_timestamp(at + script.clock_ahead),
        None => "0001-01-01T00:00:00Z".to_owned(),
    };
    let mut state = json!({
        "Status": container.state,
        "Running": running,
        "Paused": is("paused"),
        "Restarting": is("restarting"),
        "OOMKilled": container.oom_killed,
        "Dead": is("dead"),
        "Pid": if running { 4242 } else { 0 },
        "ExitCode": exit_code(&container.status),
        "Error": "",
        "StartedAt": time(container.started_at.or(Some(container.created_at))),
        "FinishedAt": time(container.finished_at),
    });
    if let Some(health) = health(&container.status) {
        state["Health"] = json!({"Status": health, "FailingStreak": 0, "Log": []});
    }
    json!({
        "Id": container.id,
        "Created": at,
        "Path": "/agent",
        "Args": [],
        "State": state,
        "Image": container.image_id,
        "Name": format!("/{}", container.name),
        "RestartCount": container.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "Mounts": mounts(container),
        "HostConfig": {
            "Memory": container.memory_bytes.unwrap_or_default(),
            "NanoCpus": container.nano_cpus.unwrap_or_default(),
            "BlkioWeight": container.io_weight.unwrap_or_default(),
        },
        "Config": {"Image": container.image, "Labels": container.labels},
        "NetworkSettings": {"Networks": {}},
    })
}

/// `digests` are the names under which it was pulled.
pub(super) fn image(id: &str, name: &str, digests: &[String]) -> Value {
    json!({
        "Id": id,
        "RepoTags": [name],
        "RepoDigests": digests,
        "Created": "2026-01-01T00:00:00Z",
        "Architecture": "amd64",
        "Os": "linux",
        "Size": 1_000_000,
    })
}

/// A container's log in frames: the stream, three zeros, the length, the text.
pub(super) fn frames(
    container: &Container,
    clock_ahead: TimeDelta,
    since: Option<u64>,
    tail: Option<u64>,
    timestamps: bool,
) -> Vec<u8> {
    let since = since.and_then(|since| i64::try_from(since).ok());
    let since = since.unwrap_or_default();
    let lines = container
        .lines
        .iter()
        .map(|(at, line)| (*at + clock_ahead, line));
    let lines: Vec<_> = lines.filter(|(at, _)| at.timestamp() >= since).collect();
    let last = tail.and_then(|tail| usize::try_from(tail).ok());
    let first = lines.len().saturating_sub(last.unwrap_or(lines.len()));
    let mut frames = Vec::new();
    for (at, line) in &lines[first..] {
        let text = if timestamps {
            format!("{} {line}\n", docker_timestamp(*at))
        } else {
            format!("{line}\n")
        };
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        frames.extend_from_slice(&[1, 0, 0, 0]);
        frames.extend_from_slice(&length.to_be_bytes());
        frames.extend_from_slice(text.as_bytes());
    }
    frames
}

/// A list of one container with a label of about this many bytes.
pub(super) fn huge_list(bytes: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    let container = Container::new("huge").label("filler", "");
    let text = list_entry(&container, &Script::new("huge")).to_string();
    let (head, tail) = text.split_once(r#""filler":""#).unwrap_or((&text, ""));
    let head = format!(r#"[{head}"filler":""#);
    let tail = format!("{tail}]");
    let chunk = Bytes::from(vec![b'x'; usize::try_from(CHUNK_BYTES).unwrap_or_default()]);
    let chunks = usize::try_from(bytes.div_ceil(CHUNK_BYTES)).unwrap_or(usize::MAX);
    once(Bytes::from(head))
        .chain(repeat_n(chunk, chunks))
        .chain(once(Bytes::from(tail)))
}

/// A list of this many containers.
pub(super) fn long_list(count: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    let script = Script::new("crowd");
    let containers = (0..count).map(move |number| {
        let comma = if number == 0 { "" } else { "," };
        let container = Container::new(&format!("one-of-many-{number}"));
        Bytes::from(format!("{comma}{}", list_entry(&container, &script)))
    });
    once(Bytes::from("["))
        .chain(containers)
        .chain(once(Bytes::from("]")))
}

fn created_at(container: &Container, script: &Script) -> DateTime<Utc> {
    container.created_at + script.clock_ahead
}

fn docker_timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn ports(container: &Container) -> Value {
    let port = |public| json!({"IP": "127.0.0.1", "PrivatePort": WEB_PORT, "PublicPort": public, "Type": "tcp"});
    let published = container
        .web_port
        .filter(|_| container.is_running())
        .map(port);
    published.into_iter().collect()
}

fn mounts(container: &Container) -> Value {
    let volume = || {
        json!({
            "Type": "volume",
            "Name": container.name,
            "Source": "",
            "Destination": DATA_DIRECTORY,
            "Driver": "local",
            "Mode": "z",
            "RW": true,
            "Propagation": "",
        })
    };
    let is_agent = container.labels.contains_key("milady.agent");
    is_agent.then(volume).into_iter().collect()
}

/// `137` of `Exited (137) 2 hours ago`.
fn exit_code(status: &str) -> i64 {
    let code = status
        .strip_prefix("Exited (")
        .or(status.strip_prefix("Restarting ("))
        .and_then(|rest| rest.split_once(')'));
    code.and_then(|(code, _)| code.parse().ok())
        .unwrap_or_default()
}

/// The health in the brackets at the end of a status text.
fn health(status: &str) -> Option<&str> {
    let (_, brackets) = status.strip_suffix(')')?.rsplit_once('(')?;
    let word = brackets.strip_prefix("health: ").unwrap_or(brackets);
    ["starting", "healthy", "unhealthy"]
        .contains(&word)
        .then_some(word)
}
