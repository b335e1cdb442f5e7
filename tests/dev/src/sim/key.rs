//! The keys of simulated hosts and of their client.

use std::path::Path;

use anyhow::{Context, Result};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The key with which a client logs in.
#[derive(Clone)]
pub struct Key(PrivateKey);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    #[must_use]
    pub fn random() -> Self {
        let seed = [Uuid::new_v4(), Uuid::new_v4()].map(|uuid| uuid.to_string());
        Self(from_seed(&seed.concat()))
    }

    /// Reads the key from a file in OpenSSH's format. Creates the file if there is none.
    pub fn find_or_create(file: &Path) -> Result<Self> {
        if file.exists() {
            let key = PrivateKey::read_openssh_file(file).context("cannot read the SSH key")?;
            return Ok(Self(key));
        }
        let key = Self::random();
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        key.0.write_openssh_file(file, LineEnding::LF)?;
        let public = key.0.public_key().to_openssh()?;
        std::fs::write(file.with_extension("pub"), format!("{public}\n"))?;
        Ok(key)
    }

    /// The private key in OpenSSH's format.
    pub fn to_openssh(&self) -> Result<String> {
        let text = self.0.to_openssh(LineEnding::LF)?;
        Ok(text.to_string())
    }

    pub(super) fn public(&self) -> &PublicKey {
        self.0.public_key()
    }
}

/// Derives a key from a text, so that a restarted host keeps its key.
pub(super) fn from_seed(text: &str) -> PrivateKey {
    let seed: [u8; 32] = Sha256::digest(text).into();
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}
