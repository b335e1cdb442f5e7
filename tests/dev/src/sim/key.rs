//! Keys of simulated hosts, and the one they let in.

use std::path::Path;

use anyhow::{Context, Result};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The key that a client logs in with.
#[derive(Clone)]
pub struct Key(PrivateKey);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let seed = [Uuid::new_v4(), Uuid::new_v4()].map(|uuid| uuid.to_string());
        Self(of_seed(&seed.concat()))
    }

    /// The one in a file of OpenSSH's format, where one is made first if there is none.
    ///
    /// # Errors
    /// When the file can be neither read nor written, or holds something else.
    pub fn find_or_make(file: &Path) -> Result<Self> {
        if file.exists() {
            let key = PrivateKey::read_openssh_file(file).context("an SSH key is not readable")?;
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
    ///
    /// # Errors
    /// Never for a key that was read or made here.
    pub fn text(&self) -> Result<String> {
        let text = self.0.to_openssh(LineEnding::LF)?;
        Ok(text.to_string())
    }

    pub(super) fn public(&self) -> &PublicKey {
        self.0.public_key()
    }
}

/// Always the same key for the same text: a host that is started again is the one it was.
pub(super) fn of_seed(text: &str) -> PrivateKey {
    let seed: [u8; 32] = Sha256::digest(text).into();
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}
