//! The connections that a warm function keeps. Owns: keeping at most one connection per host, checking that it belongs to
//! the host that the caller means, replacing it when it is dead, and closing idle ones when there are too many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::connection::Connection;
use super::error::HostError;
use super::handshake::{Handshake, LoggedIn};
use super::host_key::PresentedKeyCell;
use super::key::{KeyError, KeyErrorReason, SshKey};
use super::target::{Fingerprint, Target, resolve_hostname};
use crate::domain::address::AddressPolicy;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;
use crate::secrets::{Secret, Secrets};

/// Covers everything from resolving the host name to the accepted login.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A function may have 1,024 files open. The rest is for the database, the cache and what a new connection takes until a
/// closed one is gone.
const MAX_CONNECTIONS: usize = 800;
/// While all connections are in use, how often it is checked whether one has become idle.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How often a key that hosts refuse is loaded again: one host that refuses it for good must not cause a request to
/// Secrets Manager per connection.
const RELOAD_KEY_AFTER: Duration = Duration::from_mins(1);

/// When a key that could not be loaded is loaded again: otherwise each connection would cause a request.
const LOAD_KEY_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Makes connections to hosts and keeps one per host.
#[derive(Debug)]
pub struct HostClient {
    key: Mutex<KeyState>,
    key_source: Option<Secret>,
    secrets: Secrets,
    address_policy: AddressPolicy,
    entries: StdMutex<HashMap<String, Arc<ConnectionEntry>>>,
    /// A permit for each connection that may still be opened.
    permits: Arc<Semaphore>,
    handshakes: AtomicU64,
}

#[derive(Debug, Default)]
struct KeyState {
    loaded: Option<LoadedKey>,
    /// When the key could not be loaded.
    failed_at: Option<Instant>,
}

#[derive(Debug)]
struct LoadedKey {
    key: SshKey,
    /// When it was last loaded because a host refused it.
    reloaded_at: Option<Instant>,
}

impl LoadedKey {
    fn new(key: SshKey) -> Self {
        Self {
            key,
            reloaded_at: None,
        }
    }
}

/// The entry for one host's connection. Callers that arrive while the connection is being made wait on the
/// lock and then share it.
#[derive(Debug, Default)]
struct ConnectionEntry(Mutex<Option<KeptConnection>>);

#[derive(Debug)]
struct KeptConnection {
    target: Target,
    connection: Arc<Connection>,
}

/// What a first contact with a host found out.
#[derive(Debug)]
pub struct HostKeyProbe {
    /// The key that the host proved to have. `None` if the exchange ended before that.
    pub fingerprint: Option<Fingerprint>,
    /// The type of that key, as OpenSSH calls it: `ssh-ed25519`.
    pub key_type: Option<String>,
    /// The connection if the host accepted our key, otherwise why it cannot be used.
    pub connection: Result<Connection, HostError>,
}

impl HostClient {
    /// A client with a key that is already loaded.
    #[must_use]
    pub fn new(key: SshKey, address_policy: AddressPolicy) -> Self {
        Self {
            key: Mutex::new(KeyState {
                loaded: Some(LoadedKey::new(key)),
                failed_at: None,
            }),
            ..Self::with_key_source(None, Secrets::default(), address_policy)
        }
    }

    /// A client that loads its key when it first connects. Without a source each connect fails with
    /// [`HostReadError::NoKey`].
    #[must_use]
    pub fn with_key_source(
        key_source: Option<Secret>,
        secrets: Secrets,
        address_policy: AddressPolicy,
    ) -> Self {
        Self {
            key: Mutex::default(),
            key_source,
            secrets,
            address_policy,
            entries: StdMutex::default(),
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            handshakes: AtomicU64::new(0),
        }
    }

    /// The same client with another limit on open connections.
    #[must_use]
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max_connections)),
            ..self
        }
    }

    /// The connection to a host: the kept one if it is alive and leads to `target`, else a new one.
    pub async fn connect(&self, target: &Target) -> Result<Arc<Connection>, HostError> {
        let entry = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(entries.entry(target.node_id.clone()).or_default())
        };
        let mut kept_connection = entry.0.lock().await;
        if let Some(kept) = kept_connection.as_ref()
            && kept.leads_to(target)
            && kept.connection.is_alive().await
        {
            return Ok(Arc::clone(&kept.connection));
        }
        *kept_connection = None;
        let connection = Arc::new(self.open(target).await?);
        *kept_connection = Some(KeptConnection {
            target: target.clone(),
            connection: Arc::clone(&connection),
        });
        Ok(connection)
    }

    /// Stops keeping this connection, so that the next caller gets a new one. Does nothing if another
    /// connection has taken its place meanwhile.
    pub async fn discard(&self, node_id: &str, connection: &Arc<Connection>) {
        let entry = {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.get(node_id).map(Arc::clone)
        };
        let Some(entry) = entry else { return };
        let mut kept_connection = entry.0.lock().await;
        if kept_connection
            .as_ref()
            .is_some_and(|kept| Arc::ptr_eq(&kept.connection, connection))
        {
            *kept_connection = None;
        }
    }

    /// How many SSH handshakes were begun so far, including failed ones.
    #[must_use]
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// Connects to a host that is not registered. The connection is not kept.
    pub async fn probe_host_key(&self, target: &Target) -> HostKeyProbe {
        let presented = PresentedKeyCell::default();
        let connected = timeout(CONNECT_TIMEOUT, self.log_in(target, &presented)).await;
        let connection = connected.unwrap_or_else(|_: Elapsed| Err(HostReadError::TimedOut.into()));
        let has_proved_key = match &connection {
            Ok(_) => true,
            // The login comes after the key exchange: a host that refuses our key has proved its own.
            Err(error) => error.reason() == HostReadError::AuthFailed,
        };
        let presented = presented.get();
        HostKeyProbe {
            fingerprint: presented.fingerprint.filter(|_| has_proved_key),
            key_type: presented.key_type.filter(|_| has_proved_key),
            connection,
        }
    }

    async fn open(&self, target: &Target) -> Result<Connection, HostError> {
        let presented = PresentedKeyCell::default();
        timeout(CONNECT_TIMEOUT, self.log_in(target, &presented))
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)?
    }

    /// If the host refuses our key, the key may have been rotated since it was loaded.
    async fn log_in(
        &self,
        target: &Target,
        presented: &PresentedKeyCell,
    ) -> Result<Connection, HostError> {
        let addresses =
            resolve_hostname(self.address_policy, &target.hostname, target.port).await?;
        let key = self.key().await?;
        let permit = self.connection_permit().await;
        let connected = |logged_in: LoggedIn| Connection::new(logged_in, permit);
        let handshake = Handshake {
            target,
            addresses: &addresses,
            key: &key,
            presented,
            count: &self.handshakes,
        };
        let refusal = match handshake.run().await {
            Err(error) if error.reason() == HostReadError::AuthFailed => error,
            result => return result.map(connected),
        };
        let Some(newer_key) = self.newer_key(&key).await else {
            return Err(refusal);
        };
        let handshake = Handshake {
            key: &newer_key,
            ..handshake
        };
        handshake.run().await.map(connected)
    }

    /// Waits while all connections that may be open are in use.
    async fn connection_permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return permit;
            }
            if !self.close_idle_connection() {
                sleep(IDLE_CHECK_INTERVAL).await;
            }
        }
    }

    /// Closes the idle connection that was not used for the longest time. Returns whether there was one.
    fn close_idle_connection(&self) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = entries.values().filter_map(|entry| {
            // Whoever holds the lock is about to use the connection.
            let kept_connection = entry.0.try_lock().ok()?;
            let last_used = kept_connection.as_ref()?.idle_since()?;
            Some((last_used, kept_connection))
        });
        let Some((_, mut kept_connection)) = idle.min_by_key(|(last_used, _)| *last_used) else {
            return false;
        };
        *kept_connection = None;
        true
    }

    async fn key(&self) -> Result<SshKey, HostError> {
        let mut state = self.key.lock().await;
        if let Some(loaded) = &state.loaded {
            return Ok(loaded.key.clone());
        }
        if state
            .failed_at
            .is_some_and(|at| at.elapsed() < LOAD_KEY_AGAIN_AFTER)
        {
            return Err(HostReadError::NoKey.into());
        }
        let loaded = self.load_key().await;
        match &loaded {
            Ok(key) => state.loaded = Some(LoadedKey::new(key.clone())),
            Err(_) => state.failed_at = Some(Instant::now()),
        }
        loaded
    }

    /// The key that its source holds now. `None` if that is the refused one.
    async fn newer_key(&self, refused: &SshKey) -> Option<SshKey> {
        self.key_source.as_ref()?;
        let mut state = self.key.lock().await;
        let loaded = state.loaded.as_mut()?;
        // Another host's refusal may have had it loaded.
        let is_refused = loaded.key.0 == refused.0;
        let is_due = loaded
            .reloaded_at
            .is_none_or(|at| at.elapsed() >= RELOAD_KEY_AFTER);
        if is_refused && is_due {
            loaded.reloaded_at = Some(Instant::now());
            loaded.key = self.load_key().await.ok()?;
        }
        (loaded.key.0 != refused.0).then(|| loaded.key.clone())
    }

    async fn load_key(&self) -> Result<SshKey, HostError> {
        let source = self.key_source.as_ref().ok_or(HostReadError::NoKey)?;
        let text = Box::pin(self.secrets.read(source)).await;
        text.map_err(with_reason(KeyErrorReason::Unreadable))
            .and_then(|text| SshKey::parse(&text))
            .map_err(|error: KeyError| {
                warn!(%error, cause = error.cause(), "SSH key not loaded; no host can be reached");
                HostError::new(HostReadError::NoKey).with_cause(error)
            })
    }
}

impl KeptConnection {
    /// When the connection was last used. `None` if it is in use.
    fn idle_since(&self) -> Option<Instant> {
        let is_shared = Arc::strong_count(&self.connection) > 1;
        (!is_shared && self.connection.is_idle()).then(|| self.connection.last_used())
    }

    /// A host that was moved or pinned to another key is another host. If no key was pinned when the connection
    /// was made, pinning the key that the host presented then does not invalidate the connection.
    fn leads_to(&self, target: &Target) -> bool {
        let pinned = target.fingerprint.as_ref();
        pinned.is_none_or(|pinned| pinned == self.connection.fingerprint())
            && self.target.hostname == target.hostname
            && self.target.port == target.port
            && self.target.user == target.user
    }
}
