//! The private key with which we log in to hosts. Owns: parsing it. The key reaches no log and no error.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{PrivateKey, decode_secret_key};

use crate::failure::{Failure, with_reason};

#[derive(Clone)]
pub struct SshKey(pub(super) Arc<PrivateKey>);

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SshKey")
    }
}

pub type KeyError = Failure<KeyErrorReason>;

/// Why there is no key to log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyErrorReason {
    /// The file or the secret that should hold the key cannot be read.
    #[error("the SSH key cannot be read")]
    Unreadable,
    /// The text is no private key (OpenSSH or PEM), or the key has a passphrase.
    #[error("the SSH key is no private key, or has a passphrase")]
    Malformed,
}

impl SshKey {
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        // The OpenSSH format requires a line break at the end; secrets are often stored without it.
        let text = format!("{}\n", text.trim_end());
        let key = decode_secret_key(&text, None).map_err(with_reason(KeyErrorReason::Malformed))?;
        Ok(Self(Arc::new(key)))
    }

    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(with_reason(KeyErrorReason::Malformed))?;
        let text = String::from_utf8(bytes).map_err(with_reason(KeyErrorReason::Malformed))?;
        Self::from_text(&text)
    }

    /// Parses a key that is either plain text or base64 of it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.trim_start().starts_with("-----BEGIN") {
            Self::from_text(text)
        } else {
            Self::from_base64(text)
        }
    }

    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text =
            std::fs::read_to_string(path).map_err(with_reason(KeyErrorReason::Unreadable))?;
        Self::from_text(&text)
    }
}
