//! Making a connection: TCP, the host's key, our login.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg};

use super::dial::dial;
use super::error::{HostError, classify};
use super::host_key::{HostKeyCheck, PresentedKey, PresentedKeyCell};
use super::key::SshKey;
use super::target::{Fingerprint, Target};
use crate::domain::fleet::HostReadError;

/// russh gives up on a connection that leaves three keep-alives unanswered: after four of these intervals.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Pauses before a connection that the SSH server ended before the exchange of keys is made again. OpenSSH does so at
/// random while more than ten clients are logging in (`MaxStartups`). Each pause is lengthened at random by up to itself:
/// otherwise the clients of a burst would come back together.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(900)];

/// All kinds of host keys that OpenSSH makes.
const KEY_ALGORITHMS: [Algorithm; 7] = [
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
    Algorithm::Rsa { hash: None },
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

/// A login that succeeded.
pub(super) struct LoggedIn {
    pub(super) handle: Handle<HostKeyCheck>,
    pub(super) fingerprint: Fingerprint,
    pub(super) key_type: String,
}

/// Why an attempt failed.
enum AttemptError {
    /// The SSH server ended the connection before it showed a key. Nothing was sent to it.
    EndedEarly(HostError),
    Other(HostError),
}

impl From<HostError> for AttemptError {
    fn from(error: HostError) -> Self {
        Self::Other(error)
    }
}

impl Handshake<'_> {
    /// A host may have several keys, and may present one that is not pinned.
    ///
    /// If the type of the pinned key is known, a key of that type is requested first, and one handshake decides. If it is
    /// not, the types that the host has presented are excluded one after the other, until it presents the pinned key or
    /// has no other. A host has two or three keys, and OpenSSH penalizes clients that end many handshakes, so the caller
    /// stores the type of the key that was accepted.
    pub(super) async fn run(&self) -> Result<LoggedIn, HostError> {
        let mut algorithms = preferred(self.target.key_type.as_deref());
        let mut mismatch = None;
        loop {
            match self.attempt_repeatedly(&algorithms).await {
                Err(error) if error.reason() == HostReadError::HostKeyMismatch => {
                    mismatch.get_or_insert(error);
                }
                // A host that refuses our login has already proved that it holds the pinned key.
                Err(error) if error.reason() == HostReadError::AuthFailed => return Err(error),
                // The host has no key of the other types.
                Err(error) => return Err(mismatch.unwrap_or(error)),
                Ok(logged_in) => return Ok(logged_in),
            }
            let presented = self.presented.get().key_type;
            let next = others(&algorithms, presented.as_deref());
            let Some(next) = next.filter(|_| self.target.key_type.is_none()) else {
                return Err(mismatch.unwrap_or_else(|| HostReadError::HostKeyMismatch.into()));
            };
            algorithms = next;
        }
    }

    /// Makes an attempt again if the server was too busy for it.
    async fn attempt_repeatedly(&self, algorithms: &[Algorithm]) -> Result<LoggedIn, HostError> {
        for pause in RETRY_AFTER {
            match self.attempt(algorithms).await {
                Err(AttemptError::EndedEarly(_)) => tokio::time::sleep(lengthen(pause)).await,
                Err(AttemptError::Other(error)) => return Err(error),
                Ok(logged_in) => return Ok(logged_in),
            }
        }
        self.attempt(algorithms).await.map_err(|error| match error {
            AttemptError::EndedEarly(error) | AttemptError::Other(error) => error,
        })
    }

    /// Accepts only keys of these kinds, the first in preference.
    async fn attempt(&self, algorithms: &[Algorithm]) -> Result<LoggedIn, AttemptError> {
        let stream = dial(self.addresses).await?;
        self.count.fetch_add(1, Ordering::Relaxed);
        self.presented.set(PresentedKey::default());
        let check = HostKeyCheck {
            pinned: self.target.fingerprint.clone(),
            presented: self.presented.clone(),
        };
        let connected = client::connect_stream(config(algorithms), stream, check).await;
        let presented = self.presented.get();
        if presented.is_mismatch {
            return Err(HostError::from(HostReadError::HostKeyMismatch).into());
        }
        let mut handle = connected.map_err(|error| {
            let error = classify(error);
            let is_early = error.reason() == HostReadError::Unreachable;
            if is_early && presented.key_type.is_none() {
                AttemptError::EndedEarly(error)
            } else {
                AttemptError::Other(error)
            }
        })?;
        self.log_in(&mut handle).await?;
        match (presented.fingerprint, presented.key_type) {
            (Some(fingerprint), Some(key_type)) => Ok(LoggedIn {
                handle,
                fingerprint,
                key_type,
            }),
            _ => Err(HostError::from(HostReadError::Protocol).into()),
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

/// All algorithms, those of this type first.
fn preferred(key_type: Option<&str>) -> Vec<Algorithm> {
    let mut algorithms = KEY_ALGORITHMS.to_vec();
    // Stable: the others stay in their order.
    algorithms.sort_by_key(|algorithm| Some(type_of(algorithm)) != key_type);
    algorithms
}

/// The algorithms for keys of other types than the one that a host has presented. `None` if there are none, or if the host
/// was not asked for that type: it would present it again and again.
fn others(algorithms: &[Algorithm], presented: Option<&str>) -> Option<Vec<Algorithm>> {
    let others = algorithms.iter().cloned();
    let others = others.filter(|algorithm| Some(type_of(algorithm)) != presented);
    let others: Vec<Algorithm> = others.collect();
    (!others.is_empty() && others.len() < algorithms.len()).then_some(others)
}

/// The type of the keys that an algorithm is for, as OpenSSH calls it. RSA has several algorithms for one type.
fn type_of(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

fn lengthen(pause: Duration) -> Duration {
    // Each state is seeded at random.
    let random = RandomState::new().hash_one(());
    let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    pause + Duration::from_millis(random % milliseconds.max(1))
}

fn config(algorithms: &[Algorithm]) -> Arc<client::Config> {
    let mut config = client::Config {
        keepalive_interval: Some(KEEP_ALIVE_INTERVAL),
        nodelay: true,
        ..client::Config::default()
    };
    config.preferred.key = algorithms.to_vec().into();
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_asked_for_each_type_of_key_at_most_once() {
        let count = |algorithms: &[Algorithm], presented| {
            others(algorithms, presented).map(|others| others.len())
        };
        let rsa = &KEY_ALGORITHMS[4..];
        for (algorithms, presented, expected) in [
            (&KEY_ALGORITHMS[..], Some("ssh-ed25519"), Some(6)),
            (&KEY_ALGORITHMS[..], Some("ssh-rsa"), Some(4)),
            (rsa, Some("ssh-rsa"), None),
            // It was not asked for this one.
            (rsa, Some("ssh-ed25519"), None),
            (&KEY_ALGORITHMS[..], Some("ssh-dss"), None),
            (&KEY_ALGORITHMS[..], None, None),
        ] {
            assert_eq!(count(algorithms, presented), expected, "{presented:?}");
        }
    }
}
