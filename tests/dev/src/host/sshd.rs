//! An SSH server of our own on 127.0.0.1.
//!
//! Owns the server's process, its sessions and what runs in them, its keys and its directory, and ends
//! them all. Logs in the user this process runs as, with a key made for it.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::keys::{self, KeyType};
use super::place::{Outside, Place};
use super::programs;
use super::supervisor::{Order, Supervisor};

/// How long a server may take from its start to its greeting, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// So many may run on one machine at once.
const COUNT: u8 = 200;

const RECORD: &str = include_str!("record.sh");

/// What a server is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The host keys it has, one of each kind.
    pub host_keys: Vec<KeyType>,
    /// Whether it forwards to ports and sockets, as a host must.
    pub forwarding: bool,
    /// A directory of keys that are found again at the next start; throw-away keys when not given.
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

/// A running server; it is gone when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Sshd {
    directory: PathBuf,
    keys: PathBuf,
    port: u16,
    user: String,
    /// Of each host key its kind and fingerprint.
    host_keys: Mutex<Vec<(KeyType, String)>>,
    supervisor: Supervisor,
}

impl Sshd {
    /// Whether a server can be started here.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn availability() -> Result<(), String> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        FOUND.get_or_init(look_around).clone()
    }

    /// Starts a server on a free port.
    ///
    /// # Errors
    /// When none can be started here, or it does not answer; the message says why.
    pub async fn start(options: &Options) -> Result<Self> {
        if let Err(reason) = Self::availability() {
            bail!("{reason}");
        }
        let place = Place::take("sshd", COUNT, |_| Outside::default())?;
        let directory = place.directory.clone();
        let keys = options.keys.as_ref().unwrap_or(&directory).clone();
        let host_keys = host_keys(&keys, &options.host_keys, keys::find_or_make)?;
        for name in ["key", "stranger"] {
            keys::find_or_make(KeyType::Ed25519, &keys.join(name))?;
        }
        fs::copy(keys.join("key.pub"), directory.join("authorized_keys"))?;
        fs::write(directory.join("record.sh"), RECORD)?;
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
            supervisor: Supervisor::new(place, "", &server)?,
        };
        sshd.start_again().await?;
        Ok(sshd)
    }

    /// The port on 127.0.0.1; it stays the same over [`Sshd::start_again`].
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user to log in as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The file of the private key that is let in, in OpenSSH's format.
    #[must_use]
    pub fn private_key_path(&self) -> PathBuf {
        self.keys.join("key")
    }

    /// The file of a private key that is not let in.
    #[must_use]
    pub fn stranger_key_path(&self) -> PathBuf {
        self.keys.join("stranger")
    }

    /// The fingerprint of its first host key, as OpenSSH prints it: `SHA256:...`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.host_keys()
            .first()
            .map(|(_, fingerprint)| fingerprint.clone())
            .unwrap_or_default()
    }

    /// The fingerprint of its host key of this kind.
    #[must_use]
    pub fn fingerprint_of(&self, kind: KeyType) -> Option<String> {
        self.host_keys()
            .into_iter()
            .find_map(|(found, fingerprint)| (found == kind).then_some(fingerprint))
    }

    /// Gives it other host keys of the same kinds, as if another machine had its address now. Ends every
    /// connection.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn change_host_key(&self) -> Result<()> {
        self.stop()?;
        let kinds: Vec<KeyType> = self.host_keys().iter().map(|(kind, _)| *kind).collect();
        let made = host_keys(&self.keys, &kinds, keys::make)?;
        *self
            .host_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = made;
        self.start_again().await
    }

    /// Kills the server, every connection and what runs in them: the port is closed, as on a host that
    /// is down.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn stop(&self) -> Result<()> {
        self.supervisor.order(Order::StopAll)
    }

    /// Makes the host say that this many processes were waiting in the last minute, and none for its
    /// disk, whatever else the machine is doing.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn pretend_load(&self, load: u32) -> Result<()> {
        let text = format!("{load}.00 {load}.00 {load}.00 1/100 1\n");
        fs::write(self.directory.join("loadavg"), text)?;
        let calm = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        fs::write(self.directory.join("pressure"), calm)?;
        self.supervisor.order(Order::Load)
    }

    /// Starts a killed server on its old port and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_again(&self) -> Result<()> {
        if !self.supervisor.is_alive()? {
            self.supervisor.order(Order::Start)?;
        }
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            match greeting(self.port).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > give_up => {
                    return Err(error).context("sshd was started but does not answer");
                }
                Err(_) if !self.supervisor.is_alive()? => {
                    let said = self.supervisor.last_words();
                    bail!("sshd ended while starting: {said}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// The commands it was asked to run, oldest first; empty text for a shell.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn commands(&self) -> Result<Vec<String>> {
        let text = match fs::read(self.directory.join("commands")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.context("cannot read the commands")?,
        };
        let text = String::from_utf8_lossy(&text);
        Ok(text.split_terminator('\0').map(str::to_owned).collect())
    }

    /// How many connections have proved who they are since the first start.
    ///
    /// # Errors
    /// When the log cannot be read.
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

fn look_around() -> Result<(), String> {
    programs::find("sshd", "openssh-server")?;
    programs::find("ssh-keygen", "openssh-client")?;
    programs::namespaces_work()?;
    if programs::our_user() != 0 {
        return Ok(());
    }
    // sshd keeps its unprivileged half in there and refuses to run without.
    fs::create_dir_all("/run/sshd").map_err(|error| format!("No /run/sshd: {error}."))?;
    let accounts = fs::read_to_string("/etc/shadow").unwrap_or_default();
    if accounts.lines().any(|line| line.starts_with("root:!")) {
        return Err("The account root is locked, so sshd lets nobody in as root.".to_owned());
    }
    Ok(())
}

fn user() -> Result<String> {
    let id = programs::find("id", "coreutils").map_err(anyhow::Error::msg)?;
    Ok(programs::run(&id, &["-un".into()])?.trim().to_owned())
}

pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

fn host_key_file(directory: &Path, kind: KeyType) -> PathBuf {
    directory.join(format!("host_{}", kind.word()))
}

fn host_keys(
    directory: &Path,
    kinds: &[KeyType],
    make: fn(KeyType, &Path) -> Result<String>,
) -> Result<Vec<(KeyType, String)>> {
    kinds
        .iter()
        .map(|&kind| Ok((kind, make(kind, &host_key_file(directory, kind))?)))
        .collect()
}

/// Writes the settings and has the server check them.
fn configure(
    program: &Path,
    directory: &Path,
    keys: &Path,
    port: u16,
    options: &Options,
) -> Result<PathBuf> {
    // Newer servers shut out an address that fails to log in, which tests do on purpose; older ones do
    // not know the setting.
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

/// A session gets a home without such files: bash runs the `.bashrc` of whom it serves for sshd, and that
/// may take any time.
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
ForceCommand sh {directory}/record.sh {directory}/commands
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

async fn greeting(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut start = [0; 4];
    stream.read_exact(&mut start).await?;
    if &start != b"SSH-" {
        bail!("something else answers on port {port}");
    }
    Ok(())
}
