//! The SSH connection to a host. Owns: that the host is who it was, that a warm function opens one
//! connection per host and no more than four channels on it at once, and that a dead one is replaced.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use russh::client::{self, Handle};
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelOpenFailure, Disconnect};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::time::timeout;
use tracing::warn;

use super::channel::Open;
use super::error::HostError;
use super::key::{KeyError, SshKey};
use super::target::{Allowed, Fingerprint, Target};
use crate::secrets::{Secret, Secrets};

/// What a connection may take, from the first packet to the accepted key.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// What opening a channel may take.
const CHANNEL_WITHIN: Duration = Duration::from_secs(10);
/// A port on which hosts do not listen.
const DISCARD: u16 = 9;
/// Channels a host is asked for at once.
const CHANNELS: usize = 4;
/// A connection that was not used for this long may have died while the function slept: it is asked.
const DOUBTFUL_AFTER: Duration = Duration::from_secs(20);
/// How long it may take to say that it lives.
const PING_WITHIN: Duration = Duration::from_secs(2);
/// A connection that is silent for three of these is dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Connections that are kept, one per host.
#[derive(Debug)]
pub struct Fleet {
    key: OnceCell<SshKey>,
    source: Option<Secret>,
    secrets: Secrets,
    allowed: Allowed,
    hosts: StdMutex<HashMap<String, Arc<Slot>>>,
    handshakes: AtomicU64,
}

/// A host's place: whoever comes while its connection is being made waits for that one.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<(Target, Arc<Connection>)>>);

impl Fleet {
    /// Hosts that this key opens.
    #[must_use]
    pub fn new(key: SshKey, allowed: Allowed) -> Self {
        let fleet = Self::with(None, Secrets::new(), allowed);
        Self {
            key: OnceCell::new_with(Some(key)),
            ..fleet
        }
    }

    /// Hosts that the key opens which is kept here; it is read when the first host is.
    #[must_use]
    pub fn with(source: Option<Secret>, secrets: Secrets, allowed: Allowed) -> Self {
        Self {
            key: OnceCell::new(),
            source,
            secrets,
            allowed,
            hosts: StdMutex::default(),
            handshakes: AtomicU64::new(0),
        }
    }

    async fn key(&self) -> Result<&SshKey, HostError> {
        let read = async {
            let source = self.source.as_ref().ok_or(HostError::NoKey)?;
            let text = Box::pin(self.secrets.read(source)).await;
            let key = text
                .map_err(|_| KeyError::Unreadable)
                .and_then(|text| SshKey::read(&text));
            key.map_err(|error| {
                warn!(%error, "no host can be reached");
                HostError::NoKey
            })
        };
        self.key.get_or_try_init(|| read).await
    }

    /// The connection to a host: the one there is, if it lives and leads where `target` says, or a new
    /// one.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn connect(&self, target: &Target) -> Result<Arc<Connection>, HostError> {
        let slot = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(target.node_id.clone()).or_default())
        };
        let mut kept = slot.0.lock().await;
        if let Some((known, connection)) = kept.as_ref()
            && leads_to(known, target, connection)
            && connection.is_alive().await
        {
            return Ok(Arc::clone(connection));
        }
        *kept = None;
        let connection = Arc::new(self.open(target).await?);
        *kept = Some((target.clone(), Arc::clone(&connection)));
        Ok(connection)
    }

    /// Drops a host's connection if it is this one: the next caller gets a new one.
    pub async fn forget(&self, node_id: &str, connection: &Arc<Connection>) {
        let slot = {
            let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.get(node_id).map(Arc::clone)
        };
        if let Some(slot) = slot {
            let mut kept = slot.0.lock().await;
            if kept
                .as_ref()
                .is_some_and(|(_, kept)| Arc::ptr_eq(kept, connection))
            {
                *kept = None;
            }
        }
    }

    /// Connections made so far.
    #[must_use]
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// Meets a host that is to be registered: the key it proved to have, be it that it then refuses ours,
    /// and why it cannot be worked on, if so. The connection is not kept.
    pub async fn meet(&self, target: &Target) -> (Option<Fingerprint>, Option<HostError>) {
        let shown = Shown::default();
        let met = timeout(CONNECT_WITHIN, self.handshake(target, &shown)).await;
        match met.unwrap_or(Err(HostError::TimedOut)) {
            Ok(connection) => {
                connection.close().await;
                (Some(connection.fingerprint), None)
            }
            // Only who has proved the key gets to refuse ours.
            Err(HostError::AuthFailed) => (shown.seen().fingerprint, Some(HostError::AuthFailed)),
            Err(error) => (None, Some(error)),
        }
    }

    async fn open(&self, target: &Target) -> Result<Connection, HostError> {
        let opened = timeout(CONNECT_WITHIN, self.handshake(target, &Shown::default())).await;
        opened.unwrap_or(Err(HostError::TimedOut))
    }

    /// A host may have several keys and offer another one than the pinned: then it is asked for each
    /// other kind alone before that is called a mismatch.
    async fn handshake(&self, target: &Target, shown: &Shown) -> Result<Connection, HostError> {
        match self.attempt(target, None, shown).await {
            Err(HostError::HostKeyMismatch) => {}
            other => return other,
        }
        for algorithm in [
            Algorithm::Ed25519,
            Algorithm::Ecdsa {
                curve: russh::keys::EcdsaCurve::NistP256,
            },
            Algorithm::Ecdsa {
                curve: russh::keys::EcdsaCurve::NistP384,
            },
            Algorithm::Ecdsa {
                curve: russh::keys::EcdsaCurve::NistP521,
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha256),
            },
        ] {
            let attempt = self.attempt(target, Some(algorithm), shown).await;
            // A host that refuses ours has shown the pinned one.
            if matches!(attempt, Ok(_) | Err(HostError::AuthFailed)) {
                return attempt;
            }
        }
        Err(HostError::HostKeyMismatch)
    }

    async fn attempt(
        &self,
        target: &Target,
        algorithm: Option<Algorithm>,
        shown: &Shown,
    ) -> Result<Connection, HostError> {
        let addresses = self.allowed.look_up(&target.hostname, target.port).await?;
        self.key().await?;
        let stream = dial(&addresses).await?;
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        shown.set(Seen::default());
        let pin = Pin {
            expected: target.fingerprint.clone(),
            shown: shown.clone(),
        };
        let connected = client::connect_stream(config(algorithm), stream, pin).await;
        let seen = shown.seen();
        if seen.mismatch {
            return Err(HostError::HostKeyMismatch);
        }
        let mut handle = connected.map_err(|error| kind(&error))?;
        self.log_in(&mut handle, &target.user).await?;
        let Some(fingerprint) = seen.fingerprint else {
            return Err(HostError::Protocol);
        };
        Ok(Connection {
            handle,
            fingerprint,
            channels: Arc::new(Semaphore::new(CHANNELS)),
            opened: AtomicU64::new(0),
            used: StdMutex::new(Instant::now()),
        })
    }

    async fn log_in(&self, handle: &mut Handle<Pin>, user: &str) -> Result<(), HostError> {
        let key = self.key().await?;
        let hash = if key.0.algorithm().is_rsa() {
            let best = handle.best_supported_rsa_hash().await;
            best.map_err(|error| kind(&error))?.flatten()
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&key.0), hash);
        let answer = handle.authenticate_publickey(user, key).await;
        match answer.map_err(|error| kind(&error))? {
            client::AuthResult::Success => Ok(()),
            client::AuthResult::Failure { .. } => Err(HostError::AuthFailed),
        }
    }
}

async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, HostError> {
    let stream = TcpStream::connect(addresses).await;
    let stream = stream.map_err(|_| HostError::Unreachable)?;
    // Without it each exchange waits for the other side's delayed acknowledgement.
    stream
        .set_nodelay(true)
        .map_err(|_| HostError::Unreachable)?;
    Ok(stream)
}

/// A host that was moved, renamed or pinned anew is another one. A pin that was missing and is now
/// what this very connection saw is not.
fn leads_to(known: &Target, wanted: &Target, connection: &Connection) -> bool {
    let pin = wanted.fingerprint.as_ref();
    let same_key = pin.is_none_or(|pin| *pin == connection.fingerprint);
    let place = |target: &Target| (target.hostname.clone(), target.port, target.user.clone());
    same_key && place(known) == place(wanted)
}

fn config(algorithm: Option<Algorithm>) -> Arc<client::Config> {
    let mut config = client::Config {
        keepalive_interval: Some(KEEP_ALIVE),
        nodelay: true,
        ..client::Config::default()
    };
    if let Some(algorithm) = algorithm {
        config.preferred.key = vec![algorithm].into();
    }
    Arc::new(config)
}

/// What a host showed of itself, in the last attempt.
#[derive(Clone, Debug, Default)]
struct Seen {
    fingerprint: Option<Fingerprint>,
    mismatch: bool,
}

#[derive(Clone, Default)]
struct Shown(Arc<StdMutex<Seen>>);

impl Shown {
    fn seen(&self) -> Seen {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    fn set(&self, seen: Seen) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// Accepts the key that is pinned, and any where none is: the caller pins what was seen.
struct Pin {
    expected: Option<Fingerprint>,
    shown: Shown,
}

impl client::Handler for Pin {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false);
        };
        let fingerprint = Fingerprint::parse(&key.fingerprint(HashAlg::Sha256).to_string());
        let accepted = match (&self.expected, &fingerprint) {
            (Some(expected), Some(shown)) => expected == shown,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        self.shown.set(Seen {
            fingerprint,
            mismatch: !accepted,
        });
        Ok(accepted)
    }
}

/// An open connection to a host.
pub struct Connection {
    handle: Handle<Pin>,
    fingerprint: Fingerprint,
    channels: Arc<Semaphore>,
    opened: AtomicU64,
    used: StdMutex<Instant>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// The key the host showed.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Channels opened on it so far.
    #[must_use]
    pub fn channels_opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Whether it can be used. One that was not used for a while is asked.
    async fn is_alive(&self) -> bool {
        if self.handle.is_closed() {
            return false;
        }
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.elapsed() < DOUBTFUL_AFTER || self.answers().await.is_ok()
    }

    /// Asks its SSH server for a sign of life: one exchange, no channel.
    ///
    /// # Errors
    /// [`HostError`]: timed out after 2 s.
    pub async fn answers(&self) -> Result<(), HostError> {
        let answer = timeout(PING_WITHIN, self.handle.send_ping()).await;
        let answer = answer.map_err(|_| HostError::TimedOut)?;
        answer.map_err(|error| kind(&error))?;
        // One that ended meanwhile is no answer, though the client calls it one.
        if self.handle.is_closed() {
            return Err(HostError::Unreachable);
        }
        Ok(())
    }

    /// Says goodbye. What is not said is noticed by the host.
    pub async fn close(&self) {
        let _ = self
            .handle
            .disconnect(Disconnect::ByApplication, "", "")
            .await;
    }

    /// A channel to a Unix socket on the host. OpenSSH gives one and the same reason for a socket where
    /// nobody listens and for one it may not forward to; for a port it tells the two apart, so it is
    /// asked for one before Docker is blamed.
    pub(super) async fn to_socket(&self, path: &str) -> Result<Open, HostError> {
        let open = self.handle.channel_open_direct_streamlocal(path);
        match self.channel(open, HostError::DockerUnavailable).await {
            Err(HostError::DockerUnavailable) => match self.to_port(DISCARD).await {
                Err(HostError::ForwardingRefused) => Err(HostError::ForwardingRefused),
                _ => Err(HostError::DockerUnavailable),
            },
            other => other,
        }
    }

    /// A channel to a port of the host's own loopback.
    pub(super) async fn to_port(&self, port: u16) -> Result<Open, HostError> {
        let open = self
            .handle
            .channel_open_direct_tcpip("127.0.0.1", port.into(), "127.0.0.1", 0);
        self.channel(open, HostError::Unreachable).await
    }

    /// A channel for a command.
    pub(super) async fn to_command(&self) -> Result<Open, HostError> {
        self.channel(self.handle.channel_open_session(), HostError::Protocol)
            .await
    }

    /// `nobody`: what it means that nobody listens at the other end.
    async fn channel(
        &self,
        open: impl Future<Output = Result<Channel<client::Msg>, russh::Error>>,
        nobody: HostError,
    ) -> Result<Open, HostError> {
        let channels = Arc::clone(&self.channels);
        let permit = channels
            .acquire_owned()
            .await
            .map_err(|_| HostError::Protocol)?;
        let opened = timeout(CHANNEL_WITHIN, open)
            .await
            .map_err(|_| HostError::TimedOut)?;
        let channel = opened.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited) => {
                HostError::ForwardingRefused
            }
            russh::Error::ChannelOpenFailure(_) => nobody,
            error => kind(&error),
        })?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(Open::new(channel, permit))
    }
}

fn kind(error: &russh::Error) -> HostError {
    use russh::Error as E;
    match error {
        E::UnknownKey | E::WrongServerSig => HostError::HostKeyMismatch,
        E::NotAuthenticated | E::NoAuthMethod => HostError::AuthFailed,
        E::ConnectionTimeout | E::KeepaliveTimeout | E::InactivityTimeout => HostError::TimedOut,
        E::IO(_) | E::HUP | E::Disconnect | E::SendError | E::RecvError => HostError::Unreachable,
        _ => HostError::Protocol,
    }
}
