//! A Docker Engine that this process starts.
//!
//! Owns the engine's process, containers, volumes, networks and directory, and removes them all at
//! the end. A persistent engine keeps its data: only its processes end, and the next engine finds
//! the rest. Does not own a network namespace: ports are published on this machine's addresses, so
//! engines share them, and each engine has its own address pool for its bridges. Only an engine that
//! is started in a namespace sets up the packet filter, as an engine does on a host.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::http::{self, Body};
use super::network::Namespace;
use super::slot::{Slot, SlotResources};
use super::supervisor::{Order, Supervisor};
use super::{engine_data, programs};

/// Generous, because the machine may be busy.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);

/// How many engines can run on one machine. Each has a sixteenth of one of two networks; see
/// [`resources`].
const MAX_SERVERS: u8 = 32;

/// The slots of persistent engines, see `engine_data.rs`.
pub(super) const PERSISTENT_SLOTS: Range<u8> = 24..MAX_SERVERS;

/// Where dockerd and containerd keep files, whatever their options say.
const HIDDEN_DIRECTORIES: &str = "/run/containerd /run/docker /etc/docker";

/// A running engine. It ends, with everything in it, when this value is dropped or this process
/// ends.
#[derive(Debug)]
pub struct Engine {
    name: String,
    socket: PathBuf,
    supervisor: Supervisor,
}

/// How an engine differs from others.
#[derive(Clone, Copy, Debug, Default)]
struct Setting<'a> {
    /// The size of the file system of its data, which is in memory then.
    disk_mebibytes: Option<u32>,
    /// Where it runs and sets up the packet filter.
    network: Option<&'a Namespace>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The full id.
    pub id: String,
    /// Without the slash that the engine puts before it.
    pub name: String,
    /// The image as named in the request.
    pub image: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub state: String,
    /// The state in words, with duration and health: `Up 2 seconds (healthy)`.
    pub status: String,
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Whether an engine can be started here. The error is a sentence for the user.
    pub fn availability() -> Result<(), String> {
        static AVAILABILITY: OnceLock<Result<(), String>> = OnceLock::new();
        AVAILABILITY.get_or_init(check_availability).clone()
    }

    /// Starts an engine without images. The name is for people: it appears in messages and in a
    /// label of the engine.
    pub async fn start(name: &str) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let slot = Slot::claim("engine", PERSISTENT_SLOTS.start, resources)?;
        let data = slot.directory.join("data");
        Self::start_in(slot, &data, name, Setting::default()).await
    }

    /// Starts an engine in a network namespace, where it sets up the packet filter. It must be dropped
    /// before the namespace is.
    pub async fn start_in_network(name: &str, network: &Namespace) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let slot = Slot::claim("engine", PERSISTENT_SLOTS.start, resources)?;
        let data = slot.directory.join("data");
        let setting = Setting {
            network: Some(network),
            ..Setting::default()
        };
        Self::start_in(slot, &data, name, setting).await
    }

    /// Starts an engine with a disk of this many MiB: its data is in memory, in a file system of
    /// this size that only the engine sees.
    pub async fn start_with_disk_size(name: &str, mebibytes: u32) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let slot = Slot::claim("engine", PERSISTENT_SLOTS.start, resources)?;
        let data = slot.directory.join("data");
        let setting = Setting {
            disk_mebibytes: Some(mebibytes),
            ..Setting::default()
        };
        Self::start_in(slot, &data, name, setting).await
    }

    /// Starts an engine that keeps its data in `directory` and finds the data of an earlier engine
    /// there. Containers stop with the engine; a restart policy of `unless-stopped` or `always`
    /// starts them with the next one. It is an error if another engine uses the same data or the
    /// same addresses.
    pub async fn start_persistent(name: &str, directory: &Path) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let slot = engine_data::claim_slot(directory).await?;
        Self::start_in(slot, &directory.join("data"), name, Setting::default()).await
    }

    async fn start_in(slot: Slot, data: &Path, name: &str, setting: Setting<'_>) -> Result<Self> {
        // An empty file, so that dockerd does not read /etc/docker/daemon.json of the machine.
        fs::write(slot.directory.join("daemon.json"), "{}")?;
        let socket = slot.directory.join("docker.sock");
        let server = dockerd_command(&slot, data, name, setting.network.is_some())?;
        let sized_data = setting.disk_mebibytes;
        let sized_data = sized_data.map(|size| format!(" {}={size}m", data.display()));
        let hidden = format!("{HIDDEN_DIRECTORIES}{}", sized_data.unwrap_or_default());
        let engine = Self {
            name: name.to_owned(),
            socket,
            supervisor: Supervisor::in_network(slot, &hidden, &server, setting.network)?,
        };
        engine.restart().await?;
        Ok(engine)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The absolute path of its socket, which [`Engine::restart`] does not change.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Kills the engine. Containers continue to run, but their published ports stay closed until
    /// the engine is back.
    pub fn stop(&self) -> Result<()> {
        self.supervisor.order(Order::Stop)
    }

    /// Starts a killed engine, which finds its containers again, and waits until it answers.
    pub async fn restart(&self) -> Result<()> {
        if !self.supervisor.is_alive()? {
            self.supervisor.order(Order::Start)?;
        }
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        loop {
            match self.get("/_ping").await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    let name = &self.name;
                    return Err(error).with_context(|| format!("engine {name} does not answer"));
                }
                Err(_) if !self.supervisor.is_alive()? => {
                    let log = self.supervisor.log_tail();
                    bail!("engine {} exited while starting: {log}", self.name)
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// All containers in any state, ordered by name.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        containers(&self.socket).await
    }

    /// Creates and starts a container from a body of `POST /containers/create`, and returns its id.
    pub async fn run(&self, container: &str, body: &Value) -> Result<String> {
        let name = http::percent_encoded(container);
        let path = format!("/containers/create?name={name}");
        let created = self.call("POST", &path, Some(body)).await?;
        self.start_container(container).await?;
        let id = created["Id"]
            .as_str()
            .context("the engine returned no container id")?;
        Ok(id.to_owned())
    }

    /// Starts a container by name or id.
    pub async fn start_container(&self, container: &str) -> Result<()> {
        self.post_action(container, "start").await
    }

    pub async fn pause(&self, container: &str) -> Result<()> {
        self.post_action(container, "pause").await
    }

    pub async fn unpause(&self, container: &str) -> Result<()> {
        self.post_action(container, "unpause").await
    }

    /// Kills a container. Its restart policy does not start it again.
    pub async fn kill(&self, container: &str) -> Result<()> {
        self.post_action(container, "kill").await
    }

    /// Removes a container in any state. Named volumes stay.
    pub async fn remove(&self, container: &str) -> Result<()> {
        let path = format!(
            "/containers/{}?force=true",
            http::percent_encoded(container)
        );
        self.call("DELETE", &path, None).await.map(drop)
    }

    /// The output of a container: both streams, without their frames.
    pub async fn logs(&self, container: &str) -> Result<String> {
        let name = http::percent_encoded(container);
        let path = format!("/containers/{name}/logs?stdout=true&stderr=true");
        let frames = self.get(&path).await?;
        let (mut text, mut remaining) = (Vec::new(), frames.as_slice());
        // Each frame starts with eight bytes: the stream, three zeros, the length.
        while let Some((&[_, _, _, _, a, b, c, d], rest)) = remaining.split_first_chunk() {
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d]))?;
            let piece;
            (piece, remaining) = rest
                .split_at_checked(length)
                .context("the log ends inside a frame")?;
            text.extend_from_slice(piece);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Sends any request of the Engine API, with a path without version. An answer that is not JSON
    /// becomes a JSON string.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map_or(Body::Empty, Body::Json);
        let answer = http::send(&self.socket, method, path, body).await?;
        Ok(serde_json::from_slice(&answer)
            .unwrap_or_else(|_| String::from_utf8_lossy(&answer).into_owned().into()))
    }

    /// Unpacks a tar archive in a directory of a container.
    pub async fn put_archive(&self, container: &str, path: &str, archive: &[u8]) -> Result<()> {
        let path = archive_path(container, path);
        http::send(&self.socket, "PUT", &path, Body::Tar(archive))
            .await
            .map(drop)
    }

    /// A directory of a container as a tar archive.
    pub async fn get_archive(&self, container: &str, path: &str) -> Result<Vec<u8>> {
        self.get(&archive_path(container, path)).await
    }

    async fn post_action(&self, container: &str, verb: &str) -> Result<()> {
        let path = format!("/containers/{}/{verb}", http::percent_encoded(container));
        self.call("POST", &path, None).await.map(drop)
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>> {
        http::send(&self.socket, "GET", path, Body::Empty).await
    }
}

fn archive_path(container: &str, path: &str) -> String {
    let (container, path) = (
        http::percent_encoded(container),
        http::percent_encoded(path),
    );
    format!("/containers/{container}/archive?path={path}")
}

/// All containers in any state of the engine behind a socket, ordered by name.
pub async fn containers(socket: &Path) -> Result<Vec<Container>> {
    let list = http::send(socket, "GET", "/containers/json?all=true", Body::Empty).await?;
    let list: Value = serde_json::from_slice(&list)?;
    let list = list
        .as_array()
        .context("the engine returned no list of containers")?;
    let mut containers: Vec<Container> = list.iter().map(container).collect();
    containers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(containers)
}

fn check_availability() -> Result<(), String> {
    if programs::current_uid() != 0 {
        return Err("Starting a Docker Engine needs root.".to_owned());
    }
    programs::check_namespaces()?;
    for program in ["dockerd", "containerd", "runc"] {
        programs::find(program, "docker.io")?;
    }
    let ip = programs::find("ip", "iproute2")?;
    // An interface name has at most 15 bytes.
    let bridge = format!("mil{}", std::process::id());
    for words in [
        ["link", "add", "name", &bridge, "type", "bridge"].as_slice(),
        ["link", "delete", &bridge].as_slice(),
    ] {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        programs::run(&ip, &words)
            .map_err(|error| format!("A network bridge cannot be created here: {error:#}."))?;
    }
    // Control groups: version 1 has a directory per controller, version 2 one for all of them.
    let groups = Path::new("/sys/fs/cgroup");
    let devices = groups.join("devices");
    let is_version_2 = groups.join("cgroup.controllers").exists();
    let parent = if is_version_2 { groups } else { &devices };
    let trial = parent.join(format!("milady-trial-{}", std::process::id()));
    fs::create_dir(&trial)
        .and_then(|()| fs::remove_dir(&trial))
        .map_err(|error| format!("The control groups of this machine cannot be used: {error}."))
}

/// 198.18.0.0/15 is reserved for tests of networks, so neither this machine nor its surroundings
/// use it. Each slot has 4096 of its addresses: 64 networks of 61 containers.
pub(super) fn resources(number: u8) -> SlotResources {
    let (network, part) = (18 + number / 16, number % 16 * 16);
    SlotResources {
        pool: format!("198.{network}.{part}.0/20"),
        group: format!("milady-engine-{number}"),
    }
}

fn dockerd_command(
    slot: &Slot,
    data: &Path,
    name: &str,
    has_network: bool,
) -> Result<Vec<OsString>> {
    let directory = slot.directory.display();
    let SlotResources { pool, group } = &slot.resources;
    let dockerd = programs::find("dockerd", "docker.io").map_err(anyhow::Error::msg)?;
    let options = [
        format!("--config-file={directory}/daemon.json"),
        format!("--data-root={}", data.display()),
        format!("--exec-root={directory}/exec"),
        format!("--pidfile={directory}/pid"),
        format!("--host=unix://{directory}/docker.sock"),
        format!("--label=name={name}"),
        format!("--cgroup-parent=/{group}"),
        format!("--default-address-pool=base={pool},size=26"),
        "--bridge=none".to_owned(),
        // Leaves the machine's packet filter and routing alone; the userland proxy carries
        // published ports.
        format!("--iptables={has_network}"),
        "--ip6tables=false".to_owned(),
        format!("--ip-forward={has_network}"),
        // Works on every file system; it is slow, but the image is small.
        "--storage-driver=vfs".to_owned(),
        // Containers survive a killed engine, and the next one takes them over.
        "--live-restore".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Ok([dockerd.into()]
        .into_iter()
        .chain(options.map(Into::into))
        .collect())
}

fn container(listed: &Value) -> Container {
    let text = |key: &str| listed[key].as_str().unwrap_or_default().to_owned();
    let name = listed["Names"][0].as_str().unwrap_or_default();
    let labels = listed["Labels"].as_object().into_iter().flatten();
    Container {
        id: text("Id"),
        name: name.trim_start_matches('/').to_owned(),
        image: text("Image"),
        state: text("State"),
        status: text("Status"),
        labels: labels
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_its_own_addresses() {
        let pools: Vec<String> = (0..MAX_SERVERS)
            .map(|number| resources(number).pool)
            .collect();
        assert_eq!(pools[0], "198.18.0.0/20");
        assert_eq!(pools[15], "198.18.240.0/20");
        assert_eq!(pools[16], "198.19.0.0/20");
        assert_eq!(pools[31], "198.19.240.0/20");
        let distinct: std::collections::BTreeSet<&String> = pools.iter().collect();
        assert_eq!(distinct.len(), usize::from(MAX_SERVERS));
    }
}
