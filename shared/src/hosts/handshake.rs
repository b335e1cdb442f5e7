//! Making a connection: TCP, the host's key, our login.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg};
use tokio::net::TcpStream;

use super::connection::Connection;
use super::error::{HostError, classify};
use super::host_key::{HostKeyCheck, PresentedKey, PresentedKeyCell};
use super::key::SshKey;
use super::target::Target;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

/// russh gives up on a connection that leaves three keep-alives unanswered: after four of these intervals.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// All kinds of host keys that OpenSSH makes.
const KEY_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// Makes one connection.
pub(super) struct Handshake<'a> {
    pub(super) target: &'a Target,
    pub(super) addresses: &'a [SocketAddr],
    pub(super) key: &'a SshKey,
    pub(super) presented: &'a PresentedKeyCell,
    /// Counts the handshakes that were begun.
    pub(super) count: &'a AtomicU64,
}

impl Handshake<'_> {
    /// A host may have several keys, and may present one that is not pinned. So after a mismatch each kind of key is
    /// requested alone before the host counts as a different machine.
    pub(super) async fn run(&self) -> Result<Connection, HostError> {
        let mismatch = match self.attempt(None).await {
            Err(error) if error.reason() == HostReadError::HostKeyMismatch => error,
            other => return other,
        };
        for algorithm in KEY_ALGORITHMS {
            match self.attempt(Some(algorithm)).await {
                Ok(connection) => return Ok(connection),
                // A host that refuses our login has already proved that it holds the pinned key.
                Err(error) if error.reason() == HostReadError::AuthFailed => return Err(error),
                Err(_) => {}
            }
        }
        Err(mismatch)
    }

    /// With `algorithm` only a key of this kind is accepted.
    async fn attempt(&self, algorithm: Option<Algorithm>) -> Result<Connection, HostError> {
        let stream = dial(self.addresses).await?;
        self.count.fetch_add(1, Ordering::Relaxed);
        self.presented.set(PresentedKey::default());
        let check = HostKeyCheck {
            pinned: self.target.fingerprint.clone(),
            presented: self.presented.clone(),
        };
        let connected = client::connect_stream(config(algorithm), stream, check).await;
        let presented = self.presented.get();
        if presented.is_mismatch {
            return Err(HostReadError::HostKeyMismatch.into());
        }
        let mut handle = connected.map_err(classify)?;
        self.log_in(&mut handle).await?;
        match presented.fingerprint {
            Some(fingerprint) => Ok(Connection::new(handle, fingerprint)),
            None => Err(HostReadError::Protocol.into()),
        }
    }

    async fn log_in(&self, handle: &mut Handle<HostKeyCheck>) -> Result<(), HostError> {
        let key = Arc::clone(&self.key.0);
        let hash = if key.algorithm().is_rsa() {
            let best_hash = handle.best_supported_rsa_hash().await;
            best_hash.map_err(classify)?.flatten()
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let result = handle
            .authenticate_publickey(&self.target.user, key)
            .await
            .map_err(classify)?;
        match result {
            client::AuthResult::Success => Ok(()),
            client::AuthResult::Failure { .. } => Err(HostReadError::AuthFailed.into()),
        }
    }
}

async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, HostError> {
    let stream = TcpStream::connect(addresses)
        .await
        .map_err(with_reason(HostReadError::Unreachable))?;
    // Without it each exchange waits for the host's delayed acknowledgement.
    stream
        .set_nodelay(true)
        .map_err(with_reason(HostReadError::Unreachable))?;
    Ok(stream)
}

fn config(algorithm: Option<Algorithm>) -> Arc<client::Config> {
    let mut config = client::Config {
        keepalive_interval: Some(KEEP_ALIVE_INTERVAL),
        nodelay: true,
        ..client::Config::default()
    };
    if let Some(algorithm) = algorithm {
        config.preferred.key = vec![algorithm].into();
    }
    Arc::new(config)
}
