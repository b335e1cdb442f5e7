//! The key that a host proves to hold when a connection is made. Owns: comparing it with the pin.

use std::sync::{Arc, Mutex, PoisonError};

use russh::client;
use russh::keys::{HashAlg, PublicKeyOrCertificate};

use super::target::Fingerprint;

/// What the host presented in the last attempt to connect.
#[derive(Clone, Debug, Default)]
pub(super) struct PresentedKey {
    pub(super) fingerprint: Option<Fingerprint>,
    /// As OpenSSH calls it: `ssh-ed25519`.
    pub(super) key_type: Option<String>,
    pub(super) is_mismatch: bool,
}

/// Lets the caller read the presented key: russh keeps the handler, even when connecting fails.
#[derive(Clone, Default)]
pub(super) struct PresentedKeyCell(Arc<Mutex<PresentedKey>>);

impl PresentedKeyCell {
    pub(super) fn get(&self) -> PresentedKey {
        let key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        key.clone()
    }

    pub(super) fn set(&self, key: PresentedKey) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

/// Accepts only the pinned key. Accepts any key if none is pinned; the caller then pins the presented one.
pub(super) struct HostKeyCheck {
    pub(super) pinned: Option<Fingerprint>,
    pub(super) presented: PresentedKeyCell,
}

impl client::Handler for HostKeyCheck {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false);
        };
        let fingerprint = Fingerprint::parse(&key.fingerprint(HashAlg::Sha256).to_string());
        let is_accepted = match (&self.pinned, &fingerprint) {
            (Some(pinned), Some(presented)) => pinned == presented,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        self.presented.set(PresentedKey {
            fingerprint,
            key_type: Some(key.algorithm().to_string()),
            is_mismatch: !is_accepted,
        });
        Ok(is_accepted)
    }
}
