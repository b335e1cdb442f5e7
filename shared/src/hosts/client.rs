//! The connections that a warm function keeps. Owns: keeping at most one connection per host, checking that it
//! belongs to the host that the caller means, and replacing it when it is dead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::warn;

use super::connection::Connection;
use super::error::HostError;
use super::handshake::Handshake;
use super::host_key::PresentedKeyCell;
use super::key::{KeyError, KeyErrorReason, SshKey};
use super::target::{Fingerprint, Target, resolve_hostname};
use crate::domain::address::AddressPolicy;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;
use crate::secrets::{Secret, Secrets};

/// Covers everything from resolving the host name to the accepted login.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a key that hosts refuse is loaded again: one host that refuses it for good must not cause a request to
/// Secrets Manager per connection.
const RELOAD_KEY_AFTER: Duration = Duration::from_mins(1);

/// Makes connections to hosts and keeps one per host.
#[derive(Debug)]
pub struct HostClient {
    key: Mutex<Option<LoadedKey>>,
    key_source: Option<Secret>,
    secrets: Secrets,
    address_policy: AddressPolicy,
    entries: StdMutex<HashMap<String, Arc<ConnectionEntry>>>,
    handshakes: AtomicU64,
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
            key: Mutex::new(Some(LoadedKey::new(key))),
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
            handshakes: AtomicU64::new(0),
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
        let handshake = Handshake {
            target,
            addresses: &addresses,
            key: &key,
            presented,
            count: &self.handshakes,
        };
        let refusal = match handshake.run().await {
            Err(error) if error.reason() == HostReadError::AuthFailed => error,
            connected => return connected,
        };
        let Some(newer_key) = self.newer_key(&key).await else {
            return Err(refusal);
        };
        let handshake = Handshake {
            key: &newer_key,
            ..handshake
        };
        handshake.run().await
    }

    async fn key(&self) -> Result<SshKey, HostError> {
        let mut loaded = self.key.lock().await;
        if let Some(loaded) = loaded.as_ref() {
            return Ok(loaded.key.clone());
        }
        let key = self.load_key().await?;
        *loaded = Some(LoadedKey::new(key.clone()));
        Ok(key)
    }

    /// The key that its source holds now. `None` if that is the refused one.
    async fn newer_key(&self, refused: &SshKey) -> Option<SshKey> {
        self.key_source.as_ref()?;
        let mut loaded = self.key.lock().await;
        let loaded = loaded.as_mut()?;
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
