//! A registry of images on 127.0.0.1, which gives nothing to those it does not know.
//!
//! Owns the server's process, its images and its directory, and ends them all.

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
use super::place::{Outside, Place};
use super::supervisor::{Order, Supervisor};
use super::{Engine, programs, sshd};

/// How long it may take from its start until it listens, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// So many may run on one machine at once.
const COUNT: u8 = 32;

/// The one account, and its line of the server's file of accounts: bcrypt, of the least cost there is.
const USER: &str = "puller";
const PASSWORD: &str = "pull-canary-6f1d";
const ACCOUNT: &str = "puller:$2y$05$abcdefghijklmnopqrstuulcyZget7Vt5uMOQ3Ik6CjU1PY5bQ1dK\n";

/// A running registry; it is gone when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    supervisor: Supervisor,
}

impl Registry {
    /// Whether one can be started here.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn availability() -> Result<(), String> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        let look = || {
            programs::find("docker-registry", "docker-registry")?;
            programs::namespaces_work()
        };
        FOUND.get_or_init(look).clone()
    }

    /// Starts an empty one on a free port.
    ///
    /// # Errors
    /// When none can be started here, or it does not answer; the message says why.
    pub async fn start() -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let place = Place::take("registry", COUNT, |_| Outside::default())?;
        let directory = place.directory.clone();
        let port = sshd::free_port()?;
        fs::write(directory.join("accounts"), ACCOUNT)?;
        let settings = directory.join("config.yml");
        let shown = directory.display();
        fs::write(
            &settings,
            format!(
                "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {shown}/images}}}}
http: {{addr: '127.0.0.1:{port}'}}
auth: {{htpasswd: {{realm: test, path: {shown}/accounts}}}}
"
            ),
        )?;
        let program = programs::find("docker-registry", "docker-registry");
        let program = program.map_err(anyhow::Error::msg)?;
        let server: [OsString; 3] = [program.into(), "serve".into(), settings.into()];
        let registry = Self {
            port,
            supervisor: Supervisor::new(place, "", &server)?,
        };
        registry.supervisor.order(Order::Start)?;
        registry.ready().await?;
        Ok(registry)
    }

    /// Its name, as the first part of its images' names and as accounts are filed under.
    #[must_use]
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The account that is let in: its name and its password.
    #[must_use]
    pub fn account(&self) -> (&'static str, &'static str) {
        (USER, PASSWORD)
    }

    /// Takes an image that an engine has, under a name without tag; the engine has it under that whole
    /// name no more. Answers the whole name.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn take(&self, engine: &Engine, image: &str, name: &str) -> Result<String> {
        let repository = format!("{}/{name}", self.name());
        let tag = format!("/images/{image}/tag?repo={repository}&tag=1");
        engine.call("POST", &tag, None).await?;
        let account = json!({"username": USER, "password": PASSWORD, "serveraddress": self.name()});
        let account = URL_SAFE.encode(account.to_string());
        let push = format!("/images/{repository}/push?tag=1");
        let body = Body::Account(&account);
        let said = http::send(engine.socket(), "POST", &push, body).await?;
        // One JSON text a line; an error can only come as one of them.
        for line in String::from_utf8_lossy(&said).lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(error) = line["error"].as_str() {
                bail!("not pushed: {error}");
            }
        }
        let whole = format!("{repository}:1");
        engine
            .call("DELETE", &format!("/images/{whole}"), None)
            .await?;
        Ok(whole)
    }

    async fn ready(&self) -> Result<()> {
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > give_up => {
                    return Err(error).context("the registry was started but does not listen");
                }
                Err(_) if !self.supervisor.is_alive()? => {
                    let said = self.supervisor.last_words();
                    bail!("the registry ended while starting: {said}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}
