//! A Docker Engine of our own.
//!
//! Owns the engine's process, its containers, volumes, networks and directory, and ends them all, unless
//! it was told to keep its data: then it ends the processes and the next one finds the rest. Does not own the network namespace: ports are published on this machine's own addresses, so two engines
//! share them, and each has an address pool of its own for its bridges.

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
use super::place::{Outside, Place};
use super::supervisor::{Order, Supervisor};
use super::{kept, programs};

/// How long an engine may take from its start to its first answer, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// So many may run on one machine at once; each has a sixteenth of one of two networks, see [`outside`].
const COUNT: u8 = 32;

/// The places from this number on are for engines that keep what they have, see `kept.rs`.
pub(super) const KEPT: Range<u8> = 24..COUNT;

/// Where dockerd and containerd keep things whatever their options say.
const HIDDEN: &str = "/run/containerd /run/docker /etc/docker";

/// A running engine; it is gone, with everything in it, when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Engine {
    name: String,
    socket: PathBuf,
    supervisor: Supervisor,
}

/// A container as the engine lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The whole id.
    pub id: String,
    /// Its name, without the slash the engine puts before it.
    pub name: String,
    /// The image as it was asked for.
    pub image: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub state: String,
    /// The state in words, with the time and the health: `Up 2 seconds (healthy)`.
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Whether an engine can be started here.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn availability() -> Result<(), String> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        FOUND.get_or_init(look_around).clone()
    }

    /// Starts an engine without images. The name is for people: it is in messages and a label of the
    /// engine.
    ///
    /// # Errors
    /// When none can be started here, or it does not answer; the message says why.
    pub async fn start(name: &str) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let place = Place::take("engine", KEPT.start, outside)?;
        let data = place.directory.join("data");
        Self::start_in(place, &data, name, None).await
    }

    /// Starts an engine whose disk holds so many MiB: what it keeps is in memory, in a file system of
    /// this size that only it sees.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn start_small(name: &str, mebibytes: u32) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let place = Place::take("engine", KEPT.start, outside)?;
        let data = place.directory.join("data");
        Self::start_in(place, &data, name, Some(mebibytes)).await
    }

    /// Starts an engine that keeps what it has below `directory`, with what an earlier one has kept
    /// there. Containers stop with the engine; a restart policy of `unless-stopped` or `always` starts
    /// them again with the next one.
    ///
    /// # Errors
    /// As [`Engine::start`], and when an engine with the same data or the same addresses runs already.
    pub async fn start_keeping(name: &str, directory: &Path) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let place = kept::take(directory).await?;
        Self::start_in(place, &directory.join("data"), name, None).await
    }

    async fn start_in(place: Place, data: &Path, name: &str, size: Option<u32>) -> Result<Self> {
        // The machine's own settings are for the machine's own engine.
        fs::write(place.directory.join("daemon.json"), "{}")?;
        let socket = place.directory.join("docker.sock");
        let server = server(&place, data, name)?;
        let small = size.map(|size| format!(" {}={size}m", data.display()));
        let hidden = format!("{HIDDEN}{}", small.unwrap_or_default());
        let engine = Self {
            name: name.to_owned(),
            socket,
            supervisor: Supervisor::new(place, &hidden, &server)?,
        };
        engine.start_again().await?;
        Ok(engine)
    }

    /// The name it was started with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The absolute path of its socket; it stays the same over [`Engine::start_again`].
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Kills the engine. Containers run on, but their published ports are closed until it is back.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn stop(&self) -> Result<()> {
        self.supervisor.order(Order::Stop)
    }

    /// Starts a killed engine, which finds its containers again, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_again(&self) -> Result<()> {
        if !self.supervisor.is_alive()? {
            self.supervisor.order(Order::Start)?;
        }
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            match self.get("/_ping").await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > give_up => {
                    let name = &self.name;
                    return Err(error).with_context(|| format!("engine {name} does not answer"));
                }
                Err(_) if !self.supervisor.is_alive()? => {
                    let said = self.supervisor.last_words();
                    bail!("engine {} ended while starting: {said}", self.name)
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// All containers, whatever their state, in the order of their names.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        let list = self.get("/containers/json?all=true").await?;
        let list: Value = serde_json::from_slice(&list)?;
        let list = list.as_array().context("no list of containers")?;
        let mut found: Vec<Container> = list.iter().map(container).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Creates and starts a container from a body as `POST /containers/create` takes it, and returns its
    /// id.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn run(&self, container: &str, body: &Value) -> Result<String> {
        let name = http::encoded(container);
        let path = format!("/containers/create?name={name}");
        let created = self.call("POST", &path, Some(body)).await?;
        self.start_container(container).await?;
        let id = created["Id"].as_str().context("a container without id")?;
        Ok(id.to_owned())
    }

    /// Starts a container by name or id.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn start_container(&self, container: &str) -> Result<()> {
        self.act(container, "start").await
    }

    /// Freezes every process of a container.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn pause(&self, container: &str) -> Result<()> {
        self.act(container, "pause").await
    }

    /// Lets a frozen container go on.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn unpause(&self, container: &str) -> Result<()> {
        self.act(container, "unpause").await
    }

    /// Kills a container, which a restart policy does not undo.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn kill(&self, container: &str) -> Result<()> {
        self.act(container, "kill").await
    }

    /// Removes a container in whatever state it is; named volumes stay.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn remove(&self, container: &str) -> Result<()> {
        let path = format!("/containers/{}?force=true", http::encoded(container));
        self.call("DELETE", &path, None).await.map(drop)
    }

    /// What a container has printed, both streams, without their frames.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn logs(&self, container: &str) -> Result<String> {
        let name = http::encoded(container);
        let path = format!("/containers/{name}/logs?stdout=true&stderr=true");
        let frames = self.get(&path).await?;
        let (mut text, mut left) = (Vec::new(), frames.as_slice());
        // Eight bytes before each piece: the stream, three zeros, the length.
        while let Some((&[_, _, _, _, a, b, c, d], rest)) = left.split_first_chunk() {
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d]))?;
            let piece;
            (piece, left) = rest.split_at_checked(length).context("half a frame")?;
            text.extend_from_slice(piece);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Any other request of the Engine API, by method and path without version. An answer that is no
    /// JSON comes as text.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map_or(Body::Nothing, Body::Json);
        let answer = http::send(&self.socket, method, path, body).await?;
        Ok(serde_json::from_slice(&answer)
            .unwrap_or_else(|_| String::from_utf8_lossy(&answer).into_owned().into()))
    }

    async fn act(&self, container: &str, verb: &str) -> Result<()> {
        let path = format!("/containers/{}/{verb}", http::encoded(container));
        self.call("POST", &path, None).await.map(drop)
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>> {
        http::send(&self.socket, "GET", path, Body::Nothing).await
    }
}

fn look_around() -> Result<(), String> {
    if programs::our_user() != 0 {
        return Err("A Docker Engine of our own needs root.".to_owned());
    }
    programs::namespaces_work()?;
    for program in ["dockerd", "containerd", "runc"] {
        programs::find(program, "docker.io")?;
    }
    let ip = programs::find("ip", "iproute2")?;
    // The name of an interface has at most 15 bytes.
    let bridge = format!("mil{}", std::process::id());
    for words in [
        ["link", "add", "name", &bridge, "type", "bridge"].as_slice(),
        ["link", "delete", &bridge].as_slice(),
    ] {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        programs::run(&ip, &words)
            .map_err(|error| format!("A bridge cannot be made here: {error:#}."))?;
    }
    // Version 1 has a directory for each controller, version 2 has one for all of them.
    let groups = Path::new("/sys/fs/cgroup");
    let devices = groups.join("devices");
    let is_second = groups.join("cgroup.controllers").exists();
    let parent = if is_second { groups } else { &devices };
    let trial = parent.join(format!("milady-trial-{}", std::process::id()));
    fs::create_dir(&trial)
        .and_then(|()| fs::remove_dir(&trial))
        .map_err(|error| format!("The control groups of this machine cannot be used: {error}."))
}

/// 198.18.0.0/15 is set apart for tests of networks, so neither this machine nor its surroundings use
/// it. Each place has 4096 addresses of it: 64 networks of 61 containers.
pub(super) fn outside(number: u8) -> Outside {
    let (network, part) = (18 + number / 16, number % 16 * 16);
    Outside {
        pool: format!("198.{network}.{part}.0/20"),
        group: format!("milady-engine-{number}"),
    }
}

fn server(place: &Place, data: &Path, name: &str) -> Result<Vec<OsString>> {
    let directory = place.directory.display();
    let Outside { pool, group } = &place.outside;
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
        // The machine's packet filter and its routing are left alone; the proxy carries what is
        // published.
        "--iptables=false".to_owned(),
        "--ip6tables=false".to_owned(),
        "--ip-forward=false".to_owned(),
        // Works on every file system, and our image is small.
        "--storage-driver=vfs".to_owned(),
        // Containers outlive a killed engine and are taken over by the next.
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
    fn every_place_has_addresses_of_its_own() {
        let pools: Vec<String> = (0..COUNT).map(|number| outside(number).pool).collect();
        assert_eq!(pools[0], "198.18.0.0/20");
        assert_eq!(pools[15], "198.18.240.0/20");
        assert_eq!(pools[16], "198.19.0.0/20");
        assert_eq!(pools[31], "198.19.240.0/20");
        let different: std::collections::BTreeSet<&String> = pools.iter().collect();
        assert_eq!(different.len(), usize::from(COUNT));
    }
}
