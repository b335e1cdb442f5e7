//! An image registry on 127.0.0.1 that requires a login.
//!
//! Owns the server's process, images and directory, and removes them all at the end.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::http::{self, Body};
use super::slot::{Slot, SlotResources};
use super::supervisor::{Order, Supervisor};
use super::{Engine, programs};
use crate::ports::free_port;

/// Generous, because the machine may be busy.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);

/// How many registries can run on one machine.
const MAX_SERVERS: u8 = 32;

/// The only account, and its line in the htpasswd file: bcrypt with the lowest cost.
const USERNAME: &str = "puller";
const PASSWORD: &str = "pull-canary-6f1d";
const HTPASSWD_LINE: &str = "puller:$2y$05$abcdefghijklmnopqrstuulcyZget7Vt5uMOQ3Ik6CjU1PY5bQ1dK\n";

/// A running registry. It ends when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    supervisor: Supervisor,
}

impl Registry {
    /// Whether a registry can be started here. The error is a sentence for the user.
    pub fn availability() -> Result<(), String> {
        static AVAILABILITY: OnceLock<Result<(), String>> = OnceLock::new();
        let check = || {
            programs::find("docker-registry", "docker-registry")?;
            programs::check_namespaces()
        };
        AVAILABILITY.get_or_init(check).clone()
    }

    /// Starts an empty registry on a free port.
    pub async fn start() -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let slot = Slot::claim("registry", MAX_SERVERS, |_| SlotResources::default())?;
        let directory = slot.directory.clone();
        let port = free_port()?;
        fs::write(directory.join("accounts"), HTPASSWD_LINE)?;
        let settings = directory.join("config.yml");
        let directory_text = directory.display();
        fs::write(
            &settings,
            format!(
                "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {directory_text}/images}}}}
http: {{addr: '127.0.0.1:{port}'}}
auth: {{htpasswd: {{realm: test, path: {directory_text}/accounts}}}}
"
            ),
        )?;
        let program = programs::find("docker-registry", "docker-registry");
        let program = program.map_err(anyhow::Error::msg)?;
        let server: [OsString; 3] = [program.into(), "serve".into(), settings.into()];
        let registry = Self {
            port,
            supervisor: Supervisor::new(slot, "", &server)?,
        };
        registry.supervisor.order(Order::Start)?;
        registry.wait_until_ready().await?;
        Ok(registry)
    }

    /// The host and port: the first part of its images' names, and the key of its credentials.
    #[must_use]
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// User name and password.
    #[must_use]
    pub fn credentials(&self) -> (&'static str, &'static str) {
        (USERNAME, PASSWORD)
    }

    /// Pushes an image of an engine under a name without tag, removes that name from the engine,
    /// and returns the image's full name.
    pub async fn push(&self, engine: &Engine, image: &str, name: &str) -> Result<String> {
        let repository = format!("{}/{name}", self.name());
        let tag = format!("/images/{image}/tag?repo={repository}&tag=1");
        engine.call("POST", &tag, None).await?;
        let credentials =
            json!({"username": USERNAME, "password": PASSWORD, "serveraddress": self.name()});
        let credentials = URL_SAFE.encode(credentials.to_string());
        let push = format!("/images/{repository}/push?tag=1");
        let body = Body::RegistryAuth(&credentials);
        let output = http::send(engine.socket(), "POST", &push, body).await?;
        // The output is one JSON object per line; an error is one of them.
        for line in String::from_utf8_lossy(&output).lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(error) = line["error"].as_str() {
                bail!("the push failed: {error}");
            }
        }
        let full_name = format!("{repository}:1");
        engine
            .call("DELETE", &format!("/images/{full_name}"), None)
            .await?;
        Ok(full_name)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("the registry started but does not listen");
                }
                Err(_) if !self.supervisor.is_alive()? => {
                    let log = self.supervisor.log_tail();
                    bail!("the registry exited while starting: {log}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}
