//! What the engine of a simulated host says, in Docker's words.

use std::iter::{once, repeat_n};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::script::{Container, Script};

/// The version of the API: that of Docker 20.10, whose lists say how a container's check went in the
/// status text only.
pub(super) const API: &str = "1.41";
/// The size of a piece of an answer that is made as it is read.
const PIECE: u64 = 16 * 1024;
/// Where an agent finds its data.
const DATA: &str = "/app/data";
/// The port of an agent's pages, inside.
const WEB: u16 = 2138;

pub(super) fn version(script: &Script) -> Value {
    let version = &script.docker_version;
    json!({
        "Platform": {"Name": ""},
        "Components": [{"Name": "Engine", "Version": version, "Details": {"ApiVersion": API}}],
        "Version": version,
        "ApiVersion": API,
        "MinAPIVersion": "1.12",
        "GitCommit": "0000000",
        "GoVersion": "go1.19.8",
        "Os": "linux",
        "Arch": "amd64",
        "KernelVersion": "6.1.0",
        "BuildTime": "2023-05-18T08:38:34.000000000+00:00",
    })
}

/// A container as lists have it.
pub(super) fn listed(found: &Container, script: &Script) -> Value {
    json!({
        "Id": found.id,
        "Names": [format!("/{}", found.name)],
        "Image": found.image,
        "ImageID": format!("sha256:{}", "0".repeat(64)),
        "Command": "/agent",
        "Created": created_at(found, script).timestamp(),
        "Ports": ports(found),
        "Labels": found.labels,
        "State": found.state,
        "Status": found.status,
        "HostConfig": {"NetworkMode": "milady-agents"},
        "NetworkSettings": {"Networks": {}},
        "Mounts": mounts(found),
    })
}

/// A container as it is shown alone.
pub(super) fn inspected(found: &Container, script: &Script) -> Value {
    let is = |state: &str| found.state == state;
    let running = found.is_up();
    let at = stamp(created_at(found, script));
    let mut state = json!({
        "Status": found.state,
        "Running": running,
        "Paused": is("paused"),
        "Restarting": is("restarting"),
        "OOMKilled": false,
        "Dead": is("dead"),
        "Pid": if running { 4242 } else { 0 },
        "ExitCode": exit_code(&found.status),
        "Error": "",
        "StartedAt": at,
        "FinishedAt": "0001-01-01T00:00:00Z",
    });
    if let Some(health) = health(&found.status) {
        state["Health"] = json!({"Status": health, "FailingStreak": 0, "Log": []});
    }
    json!({
        "Id": found.id,
        "Created": at,
        "Path": "/agent",
        "Args": [],
        "State": state,
        "Image": format!("sha256:{}", "0".repeat(64)),
        "Name": format!("/{}", found.name),
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "Mounts": mounts(found),
        "Config": {"Image": found.image, "Labels": found.labels},
        "NetworkSettings": {"Networks": {}},
    })
}

pub(super) fn image(name: &str) -> Value {
    json!({
        "Id": format!("sha256:{}", "0".repeat(64)),
        "RepoTags": [name],
        "RepoDigests": [],
        "Created": "2026-01-01T00:00:00Z",
        "Architecture": "amd64",
        "Os": "linux",
        "Size": 1_000_000,
    })
}

/// What a container has written, in frames: the stream, three zeros, the length, the text.
pub(super) fn frames(
    found: &Container,
    clock_ahead: TimeDelta,
    since: Option<u64>,
    tail: Option<u64>,
    timestamps: bool,
) -> Vec<u8> {
    let since = since.and_then(|since| i64::try_from(since).ok());
    let since = since.unwrap_or_default();
    let lines = found
        .lines
        .iter()
        .map(|(at, line)| (*at + clock_ahead, line));
    let lines: Vec<_> = lines.filter(|(at, _)| at.timestamp() >= since).collect();
    let last = tail.and_then(|tail| usize::try_from(tail).ok());
    let first = lines.len().saturating_sub(last.unwrap_or(lines.len()));
    let mut frames = Vec::new();
    for (at, line) in &lines[first..] {
        let text = if timestamps {
            format!("{} {line}\n", stamp(*at))
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

/// A list of one container with a label of about so many bytes.
pub(super) fn huge(bytes: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    let container = Container::new("huge").label("filler", "");
    let text = listed(&container, &Script::new("huge")).to_string();
    let (head, tail) = text.split_once(r#""filler":""#).unwrap_or((&text, ""));
    let head = format!(r#"[{head}"filler":""#);
    let tail = format!("{tail}]");
    let piece = Bytes::from(vec![b'x'; usize::try_from(PIECE).unwrap_or_default()]);
    let pieces = usize::try_from(bytes.div_ceil(PIECE)).unwrap_or(usize::MAX);
    once(Bytes::from(head))
        .chain(repeat_n(piece, pieces))
        .chain(once(Bytes::from(tail)))
}

/// A list of so many containers.
pub(super) fn crowd(count: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    let script = Script::new("crowd");
    let containers = (0..count).map(move |number| {
        let comma = if number == 0 { "" } else { "," };
        let container = Container::new(&format!("one-of-many-{number}"));
        Bytes::from(format!("{comma}{}", listed(&container, &script)))
    });
    once(Bytes::from("["))
        .chain(containers)
        .chain(once(Bytes::from("]")))
}

fn created_at(found: &Container, script: &Script) -> DateTime<Utc> {
    found.created_at + script.clock_ahead
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn ports(found: &Container) -> Value {
    let port = |public| json!({"IP": "127.0.0.1", "PrivatePort": WEB, "PublicPort": public, "Type": "tcp"});
    let published = found.web_port.filter(|_| found.runs()).map(port);
    published.into_iter().collect()
}

fn mounts(found: &Container) -> Value {
    let volume = || {
        json!({
            "Type": "volume",
            "Name": found.name,
            "Source": "",
            "Destination": DATA,
            "Driver": "local",
            "Mode": "z",
            "RW": true,
            "Propagation": "",
        })
    };
    let is_agent = found.labels.contains_key("milady.agent");
    is_agent.then(volume).into_iter().collect()
}

/// `137` of `Exited (137) 2 hours ago`.
fn exit_code(status: &str) -> i64 {
    let code = status
        .strip_prefix("Exited (")
        .and_then(|rest| rest.split_once(')'));
    code.and_then(|(code, _)| code.parse().ok())
        .unwrap_or_default()
}

/// What the brackets at the end say of its check.
fn health(status: &str) -> Option<&str> {
    let (_, brackets) = status.strip_suffix(')')?.rsplit_once('(')?;
    let word = brackets.strip_prefix("health: ").unwrap_or(brackets);
    ["starting", "healthy", "unhealthy"]
        .contains(&word)
        .then_some(word)
}
