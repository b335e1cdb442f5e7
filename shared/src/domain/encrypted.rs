//! Secrets as the database holds them. Owns: what an encrypted value consists of, and whether the older application
//! still reads agents' secrets. Does not own: the keys (`encryption`).

use std::fmt;

use crate::domain::words::words;

/// A value that only its key decrypts.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptedValue {
    /// The name of the key.
    pub key_id: String,
    /// Nonce, ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for EncryptedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedValue")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl EncryptedValue {
    /// The value of two columns, which are null together.
    #[must_use]
    pub fn from_columns(key_id: Option<String>, ciphertext: Option<Vec<u8>>) -> Option<Self> {
        Some(Self {
            key_id: key_id?,
            ciphertext: ciphertext?,
        })
    }
}

words! {
    /// Whether the older application runs beside this one. As long as it does, it reads `milady_sandboxes`, so agents'
    /// environments stay there as they are.
    pub enum OlderApplication {
        Present = "present",
        Gone = "gone",
    }
}
