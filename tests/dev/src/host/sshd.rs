//! An SSH server that this process starts on 127.0.0.1.
//!
//! Owns the server's process, its sessions and their processes, its keys and its directory, and
//! ends them all. Logs in the user this process runs as, with a key created for it.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::keys::{self, KeyType};
use super::programs;
use super::slot::{Slot, SlotResources};
use super::supervisor::{Order, Supervisor};
use crate::ports::free_port;

/// Generous, because the machine may be busy.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);

/// How many servers can run on one machine.
const MAX_SERVERS: u8 = 200;

const RECORD_COMMAND: &str = include_str!("record_command.sh");

#[derive(Clone, Debug)]
pub struct Options {
    /// The kinds of its host keys.
    pub host_keys: Vec<KeyType>,
    /// Whether it forwards ports and sockets, as a host must.
    pub forwarding: bool,
    /// A directory that keeps the keys for the next start; `None` means temporary keys.
    pub keys: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host_keys: vec![KeyType::Ed25519],
            forwarding: true,
            keys: None,
        }
    }
}

/// A running server. It ends when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Sshd {
    directory: PathBuf,
    keys: PathBuf,
    port: u16,
    user: String,
    /// Kind and fingerprint of each host key.
    host_keys: Mutex<Vec<(KeyType, String)>>,
    supervisor: Supervisor,
}

impl Sshd {
    /// Whether a server can be started here. The error is a sentence for the user.
    pub fn availability() -> Result<(), String> {
        static AVAILABILITY: OnceLock<Result<(), String>> = OnceLock::new();
        AVAILABILITY.get_or_init(check_availability).clone()
    }

    pub async fn start(options: &Options) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let slot = Slot::claim("sshd", MAX_SERVERS, |_| SlotResources::default())?;
        let directory = slot.directory.clone();
        let keys = options.keys.as_ref().unwrap_or(&directory).clone();
        let host_keys = host_keys(&keys, &options.host_keys, keys::find_or_create)?;
        for name in ["key", "unauthorized"] {
            keys::find_or_create(KeyType::Ed25519, &keys.join(name))?;
        }
        fs::copy(keys.join("key.pub"), directory.join("authorized_keys"))?;
        fs::write(directory.join("record_command.sh"), RECORD_COMMAND)?;
        let port = free_port()?;
        let program = programs::find("sshd", "openssh-server").map_err(anyhow::Error::msg)?;
        let settings = configure(&program, &directory, &keys, port, options)?;
        let server = [program.into(), "-D".into(), "-e".into(), "-f".into()];
        let server: Vec<OsString> = server.into_iter().chain([settings.into()]).collect();
        let sshd = Self {
            directory,
            keys,
            port,
            user: user()?,
            host_keys: Mutex::new(host_keys),
            supervisor: Supervisor::new(slot, "", &server)?,
        };
        sshd.restart().await?;
        Ok(sshd)
    }

    /// The port on 127.0.0.1, which [`Sshd::restart`] does not change.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The file of the private key that the server accepts, in OpenSSH's format.
    #[must_use]
    pub fn private_key_path(&self) -> PathBuf {
        self.keys.join("key")
    }

    /// The file of a private key that the server refuses.
    #[must_use]
    pub fn unauthorized_key_path(&self) -> PathBuf {
        self.keys.join("unauthorized")
    }

    /// The fingerprint of its first host key, in the format that OpenSSH prints: `SHA256:...`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.host_keys()
            .first()
            .map(|(_, fingerprint)| fingerprint.clone())
            .unwrap_or_default()
    }

    #[must_use]
    pub fn fingerprint_of(&self, kind: KeyType) -> Option<String> {
        self.host_keys()
            .into_iter()
            .find_map(|(other, fingerprint)| (other == kind).then_some(fingerprint))
    }

    /// Replaces the host keys by others of the same kinds, as if another machine now had the
    /// address. Ends every connection.
    pub async fn change_host_key(&self) -> Result<()> {
        self.stop()?;
        let kinds: Vec<KeyType> = self.host_keys().iter().map(|(kind, _)| *kind).collect();
        let new_keys = host_keys(&self.keys, &kinds, keys::create)?;
        *self
            .host_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = new_keys;
        self.restart().await
    }

    /// Kills the server, its connections and their processes. The port is closed, as on a host that
    /// is down.
    pub fn stop(&self) -> Result<()> {
        self.supervisor.order(Order::StopAll)
    }

    /// Makes the host report this load average and no I/O pressure, whatever the machine is doing.
    pub fn simulate_load(&self, load: u32) -> Result<()> {
        let text = format!("{load}.00 {load}.00 {load}.00 1/100 1\n");
        fs::write(self.directory.join("loadavg"), text)?;
        let no_pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        fs::write(self.directory.join("pressure"), no_pressure)?;
        self.supervisor.order(Order::Load)
    }

    /// Starts a killed server on its old port and waits until it answers.
    pub async fn restart(&self) -> Result<()> {
        if !self.supervisor.is_alive()? {
            self.supervisor.order(Order::Start)?;
        }
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        loop {
            match read_banner(self.port).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("sshd started but does not answer");
                }
                Err(_) if !self.supervisor.is_alive()? => {
                    let log = self.supervisor.log_tail();
                    bail!("sshd exited while starting: {log}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// The commands that clients ran, oldest first. A shell is an empty text.
    pub fn commands(&self) -> Result<Vec<String>> {
        let text = match fs::read(self.directory.join("commands")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.context("cannot read the commands")?,
        };
        let text = String::from_utf8_lossy(&text);
        Ok(text.split_terminator('\0').map(str::to_owned).collect())
    }

    /// The number of successful logins since the first start.
    pub fn connections(&self) -> Result<usize> {
        let log = self.supervisor.log()?;
        let accepted = log
            .lines()
            .filter(|line| line.starts_with("Accepted publickey for "));
        Ok(accepted.count())
    }

    fn host_keys(&self) -> Vec<(KeyType, String)> {
        self.host_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn check_availability() -> Result<(), String> {
    programs::find("sshd", "openssh-server")?;
    programs::find("ssh-keygen", "openssh-client")?;
    programs::check_namespaces()?;
    if programs::current_uid() != 0 {
        return Ok(());
    }
    // sshd's unprivileged half uses this directory; without it sshd refuses to run.
    fs::create_dir_all("/run/sshd")
        .map_err(|error| format!("/run/sshd cannot be created: {error}."))?;
    let accounts = fs::read_to_string("/etc/shadow").unwrap_or_default();
    if accounts.lines().any(|line| line.starts_with("root:!")) {
        return Err("The account root is locked, so sshd refuses logins as root.".to_owned());
    }
    Ok(())
}

fn user() -> Result<String> {
    let id = programs::find("id", "coreutils").map_err(anyhow::Error::msg)?;
    Ok(programs::run(&id, &["-un".into()])?.trim().to_owned())
}

fn host_key_file(directory: &Path, kind: KeyType) -> PathBuf {
    directory.join(format!("host_{}", kind.name()))
}

fn host_keys(
    directory: &Path,
    kinds: &[KeyType],
    create: fn(KeyType, &Path) -> Result<String>,
) -> Result<Vec<(KeyType, String)>> {
    kinds
        .iter()
        .map(|&kind| Ok((kind, create(kind, &host_key_file(directory, kind))?)))
        .collect()
}

/// Writes the configuration and lets the server check it.
fn configure(
    program: &Path,
    directory: &Path,
    keys: &Path,
    port: u16,
    options: &Options,
) -> Result<PathBuf> {
    // Newer servers block an address after failed logins, which tests provoke; older servers do not
    // know the setting.
    const PENALTIES: &str = "PerSourcePenalties no\n";
    let file = directory.join("sshd_config");
    let settings = settings(directory, keys, port, options);
    let check = ["-t".into(), "-f".into(), file.clone().into_os_string()];
    fs::write(&file, format!("{settings}{PENALTIES}"))?;
    if programs::run(program, &check).is_err() {
        fs::write(&file, settings)?;
        programs::run(program, &check)?;
    }
    Ok(file)
}

/// The server's configuration. HOME points to a directory without startup files: bash runs the
/// user's `.bashrc` for commands of sshd, which may take any time.
fn settings(directory: &Path, keys: &Path, port: u16, options: &Options) -> String {
    let host_keys: Vec<String> = options
        .host_keys
        .iter()
        .map(|&kind| format!("HostKey {}", host_key_file(keys, kind).display()))
        .collect();
    let host_keys = host_keys.join("\n");
    let forwarding = if options.forwarding { "yes" } else { "no" };
    let directory = directory.display();
    format!(
        "Port {port}
ListenAddress 127.0.0.1
{host_keys}
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
ForceCommand sh {directory}/record_command.sh {directory}/commands
AllowTcpForwarding {forwarding}
AllowStreamLocalForwarding {forwarding}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
PermitUserRC no
SetEnv HOME={directory}
UsePAM no
UseDNS no
PrintMotd no
LogLevel VERBOSE
MaxStartups 1000
"
    )
}

async fn read_banner(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut banner = [0; 4];
    stream.read_exact(&mut banner).await?;
    if &banner != b"SSH-" {
        bail!("something else answers on port {port}");
    }
    Ok(())
}
