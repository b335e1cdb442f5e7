//! The connections that a warm function keeps. Owns: keeping at most one connection per host, checking that it
//! belongs to the host that the caller means, and replacing it when it is dead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
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

/// Makes connections to hosts and keeps one per host.
#[derive(Debug)]
pub struct HostClient {
    key: OnceCell<SshKey>,
    key_source: Option<Secret>,
    secrets: Secrets,
    address_policy: AddressPolicy,
    entries: StdMutex<HashMap<String, Arc<ConnectionEntry>>>,
    handshakes: AtomicU64,
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
            key: OnceCell::new_with(Some(key)),
            ..Self::with_key_source(None, Secrets::new(), address_policy)
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
            key: OnceCell::new(),
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
        let connected = timeout(CONNECT_TIMEOUT, self.handshake(target, &presented)).await;
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
        timeout(CONNECT_TIMEOUT, self.handshake(target, &presented))
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)?
    }

    async fn handshake(
        &self,
        target: &Target,
        presented: &PresentedKeyCell,
    ) -> Result<Connection, HostError> {
        let addresses =
            resolve_hostname(self.address_policy, &target.hostname, target.port).await?;
        let handshake = Handshake {
            target,
            addresses: &addresses,
            key: self.key().await?,
            presented,
            count: &self.handshakes,
        };
        handshake.run().await
    }

    async fn key(&self) -> Result<&SshKey, HostError> {
        self.key.get_or_try_init(|| self.load_key()).await
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
