//! Encrypting secrets for the database with AES-256-GCM. Owns: the keys, the nonces, and that a value is decrypted only
//! in the row and column that it was encrypted for. Does not own: which values are encrypted, and where they are stored.

use std::fmt;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::encrypted::EncryptedValue;
use crate::failure::{Failure, with_reason};
use crate::random::random_bytes;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const MAX_KEY_ID_BYTES: usize = 32;

pub type EncryptionError = Failure<EncryptionErrorReason>;

/// The texts may be shown. They hold neither the value nor its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionErrorReason {
    #[error("This deployment has no key for secrets")]
    NoKey,
    #[error("This deployment lacks the key of a stored secret")]
    UnknownKey,
    /// It was changed, or it was encrypted for another row or column.
    #[error("A stored secret cannot be decrypted")]
    Undecryptable,
    #[error("A secret cannot be encrypted")]
    NotEncrypted,
}

/// Where a value is stored. It is authenticated with the value, which can be decrypted nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(String);

impl Location {
    /// `row` identifies the row in its table.
    #[must_use]
    pub fn new(table: &'static str, column: &'static str, row: impl fmt::Display) -> Self {
        // The row comes last, so that no other location has the same text.
        Self(format!("{table}\0{column}\0{row}"))
    }
}

/// The keys of a deployment. The first one encrypts, all of them decrypt. Without a key every call fails.
#[derive(Clone, Default)]
pub struct EncryptionKeys(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: String,
    cipher: Aes256Gcm,
}

/// Shows no key.
impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKeys")
    }
}

impl EncryptionKeys {
    /// Parses `id:key` pairs separated by commas. A key is base64 of 32 bytes.
    ///
    /// # Errors
    /// What is wrong with the list, without any of its text.
    pub fn parse(list: &str) -> Result<Self, &'static str> {
        let mut keys: Vec<Key> = Vec::new();
        for pair in list.split(',') {
            let key = Key::parse(pair.trim())?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err("has two keys of the same id");
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// The id of the key that encrypts. `None` if there is no key.
    #[must_use]
    pub fn current_id(&self) -> Option<&str> {
        self.0.first().map(|key| key.id.as_str())
    }

    pub fn encrypt(
        &self,
        text: &str,
        location: &Location,
    ) -> Result<EncryptedValue, EncryptionError> {
        let key = self.0.first().ok_or(EncryptionErrorReason::NoKey)?;
        let nonce: [u8; NONCE_BYTES] =
            random_bytes().map_err(with_reason(EncryptionErrorReason::NotEncrypted))?;
        let mut encrypted = text.as_bytes().to_vec();
        let tag = key
            .cipher
            .encrypt_inout_detached(
                (&nonce).into(),
                location.0.as_bytes(),
                encrypted.as_mut_slice().into(),
            )
            .map_err(|_| EncryptionErrorReason::NotEncrypted)?;
        Ok(EncryptedValue {
            key_id: key.id.clone(),
            ciphertext: [nonce.as_slice(), encrypted.as_slice(), tag.as_slice()].concat(),
        })
    }

    pub fn decrypt(
        &self,
        value: &EncryptedValue,
        location: &Location,
    ) -> Result<String, EncryptionError> {
        let undecryptable = EncryptionErrorReason::Undecryptable;
        let key = self.0.iter().find(|key| key.id == value.key_id);
        let key = key.ok_or(if self.0.is_empty() {
            EncryptionErrorReason::NoKey
        } else {
            EncryptionErrorReason::UnknownKey
        })?;
        let (nonce, rest) = value
            .ciphertext
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(undecryptable)?;
        let (encrypted, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(undecryptable)?;
        let mut text = encrypted.to_vec();
        key.cipher
            .decrypt_inout_detached(
                nonce.into(),
                location.0.as_bytes(),
                text.as_mut_slice().into(),
                tag.into(),
            )
            .map_err(|_| undecryptable)?;
        // The error would hold the text.
        String::from_utf8(text).map_err(|_| undecryptable.into())
    }

    /// Encrypts a value for a column that holds text: `<key id>:<base64>`.
    pub fn encrypt_to_text(
        &self,
        text: &str,
        location: &Location,
    ) -> Result<String, EncryptionError> {
        let EncryptedValue { key_id, ciphertext } = self.encrypt(text, location)?;
        Ok(format!("{key_id}:{}", STANDARD.encode(ciphertext)))
    }

    /// Decrypts what [`Self::encrypt_to_text`] returned. A text without a colon was stored by an earlier version, which
    /// did not encrypt, and is returned as it is.
    pub fn decrypt_text(
        &self,
        stored: &str,
        location: &Location,
    ) -> Result<String, EncryptionError> {
        let Some((key_id, ciphertext)) = stored.split_once(':') else {
            return Ok(stored.to_owned());
        };
        let ciphertext = STANDARD.decode(ciphertext);
        let value = EncryptedValue {
            key_id: key_id.to_owned(),
            ciphertext: ciphertext.map_err(|_| EncryptionErrorReason::Undecryptable)?,
        };
        self.decrypt(&value, location)
    }
}

impl Key {
    fn parse(pair: &str) -> Result<Self, &'static str> {
        let (id, key) = pair
            .split_once(':')
            .ok_or("must be a list of <id>:<key>, separated by commas")?;
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.is_empty() || id.len() > MAX_KEY_ID_BYTES || !id.bytes().all(is_id) {
            return Err("has an id that is not 1 to 32 letters, digits, hyphens or underscores");
        }
        let key = STANDARD
            .decode(key)
            .map_err(|_| "has a key that is not base64")?;
        let key: [u8; KEY_BYTES] = key
            .try_into()
            .map_err(|_| "has a key that is not 32 bytes long")?;
        Ok(Self {
            id: id.to_owned(),
            cipher: Aes256Gcm::new((&key).into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ids: &[&str]) -> EncryptionKeys {
        let pairs = ids.iter().map(|id| {
            let byte = id.bytes().next().expect("a letter");
            format!("{id}:{}", STANDARD.encode([byte; KEY_BYTES]))
        });
        EncryptionKeys::parse(&pairs.collect::<Vec<_>>().join(",")).expect("keys")
    }

    fn location() -> Location {
        Location::new("cloud.agent_databases", "ciphertext", 7)
    }

    fn decrypt(
        keys: &EncryptionKeys,
        value: &EncryptedValue,
    ) -> Result<String, EncryptionErrorReason> {
        keys.decrypt(value, &location())
            .map_err(|error| error.reason())
    }

    #[test]
    fn a_value_is_decrypted_only_where_it_was_encrypted_for() {
        let keys = keys(&["a"]);
        for text in ["", "postgres://u:it's ü@db/x", &"x".repeat(100_000)] {
            let value = keys.encrypt(text, &location()).expect("encrypted");
            assert_eq!(decrypt(&keys, &value), Ok(text.to_owned()));
            assert_ne!(keys.encrypt(text, &location()).expect("encrypted"), value);
            for elsewhere in [
                Location::new("cloud.agent_databases", "ciphertext", 8),
                Location::new("cloud.agent_databases", "other", 7),
                Location::new("cloud.agent_environments", "ciphertext", 7),
            ] {
                let decrypted = keys.decrypt(&value, &elsewhere);
                let reason = decrypted.map_err(|error| error.reason());
                assert_eq!(reason, Err(EncryptionErrorReason::Undecryptable));
            }
        }
    }

    #[test]
    fn a_changed_or_shortened_value_is_not_decrypted() {
        let keys = keys(&["a"]);
        let value = keys.encrypt("word", &location()).expect("encrypted");
        let length = value.ciphertext.len();
        assert_eq!(length, NONCE_BYTES + 4 + TAG_BYTES);
        for at in 0..length {
            let mut changed = value.clone();
            changed.ciphertext[at] ^= 1;
            assert_eq!(
                decrypt(&keys, &changed),
                Err(EncryptionErrorReason::Undecryptable)
            );
            let mut shortened = value.clone();
            shortened.ciphertext.truncate(at);
            assert_eq!(
                decrypt(&keys, &shortened),
                Err(EncryptionErrorReason::Undecryptable)
            );
        }
    }

    #[test]
    fn the_first_key_encrypts_and_every_key_decrypts() {
        let before = keys(&["old"])
            .encrypt("word", &location())
            .expect("encrypted");
        let rotated = keys(&["new", "old"]);
        assert_eq!(decrypt(&rotated, &before), Ok("word".to_owned()));
        let after = rotated.encrypt("word", &location()).expect("encrypted");
        assert_eq!(after.key_id, "new");
        assert_eq!(decrypt(&keys(&["new"]), &after), Ok("word".to_owned()));
        assert_eq!(
            decrypt(&keys(&["new"]), &before),
            Err(EncryptionErrorReason::UnknownKey)
        );
        let none = EncryptionKeys::default();
        assert_eq!(decrypt(&none, &before), Err(EncryptionErrorReason::NoKey));
        let encrypted = none.encrypt("word", &location());
        assert_eq!(
            encrypted.map_err(|error| error.reason()),
            Err(EncryptionErrorReason::NoKey)
        );
    }

    #[test]
    fn texts_of_an_earlier_version_are_read_as_they_are() {
        let keys = keys(&["a"]);
        let stored = keys.encrypt_to_text("word", &location()).expect("a text");
        assert!(stored.starts_with("a:") && !stored.contains("word"));
        for (stored, expected) in [
            (stored.as_str(), Ok("word")),
            ("word", Ok("word")),
            ("a:word", Err(EncryptionErrorReason::Undecryptable)),
            ("b:d29yZA==", Err(EncryptionErrorReason::UnknownKey)),
        ] {
            let text = keys.decrypt_text(stored, &location());
            let text = text.map_err(|error| error.reason());
            assert_eq!(text, expected.map(str::to_owned), "{stored}");
        }
    }

    #[test]
    fn a_malformed_list_is_refused_without_its_text() {
        let good = STANDARD.encode([1; KEY_BYTES]);
        for (list, problem) in [
            (good.clone(), "must be a list of"),
            (format!(":{good}"), "has an id"),
            (format!("a b:{good}"), "has an id"),
            (format!("{}:{good}", "x".repeat(33)), "has an id"),
            (format!("a:{good},"), "must be a list of"),
            (format!("a:{good},a:{good}"), "has two keys"),
            ("a:no base64".to_owned(), "has a key that is not base64"),
            (
                format!("a:{}", STANDARD.encode([1; 31])),
                "has a key that is not 32 bytes",
            ),
            (
                format!("a:{good},b:{}", STANDARD.encode([1; 33])),
                "has a key that is not 32 bytes",
            ),
        ] {
            let refused = EncryptionKeys::parse(&list).expect_err("a refusal");
            assert!(refused.starts_with(problem), "{refused}");
        }
        let keys = EncryptionKeys::parse(&format!("a:{good}, b:{good}")).expect("two keys");
        assert_eq!(keys.current_id(), Some("a"));
        assert_eq!(format!("{keys:?}"), "EncryptionKeys");
    }
}
