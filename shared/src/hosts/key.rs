//! The key we log in with. Owns: reading it. It reaches no log and no error.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{PrivateKey, decode_secret_key};

/// A private key.
#[derive(Clone)]
pub struct SshKey(pub(super) Arc<PrivateKey>);

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SshKey")
    }
}

/// There is no key to log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read from where it should be.
    #[error("the SSH key cannot be read")]
    Unreadable,
    /// What is there is no private key in OpenSSH's or PEM's form without a passphrase.
    #[error("the SSH key is not a private key")]
    Malformed,
}

impl SshKey {
    /// A key's text.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        // OpenSSH wants the last line to end.
        let text = format!("{}\n", text.trim_end());
        let key = decode_secret_key(&text, None).map_err(|_| KeyError::Malformed)?;
        Ok(Self(Arc::new(key)))
    }

    /// A key's text in base64.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|_| KeyError::Malformed)?;
        Self::from_text(&String::from_utf8(bytes).map_err(|_| KeyError::Malformed)?)
    }

    /// A key's text, as it is or in base64.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn read(text: &str) -> Result<Self, KeyError> {
        if text.trim_start().starts_with("-----BEGIN") {
            Self::from_text(text)
        } else {
            Self::from_base64(text)
        }
    }

    /// A key in a file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path).map_err(|_| KeyError::Unreadable)?;
        Self::from_text(&text)
    }
}
