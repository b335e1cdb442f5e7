//! The private key with which we log in to hosts. Owns: parsing it, in every form in which it is usually stored. The key
//! reaches no log and no error.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use russh::keys::{PrivateKey, decode_secret_key};

use crate::failure::{Failure, with_reason};

/// Padding is often lost when a text is copied.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
const PEM_DASHES: &str = "-----";
const PUTTY_BEGIN: &str = "PuTTY-User-Key-File-";
/// How the bytes of a key in OpenSSH's format begin.
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";
const OPENSSH_LABEL: &str = "OPENSSH PRIVATE KEY";

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
    /// Parses a key: OpenSSH's format, PEM (PKCS #1, PKCS #8, SEC 1) or that of `PuTTY`, or base64 of one of them, in one
    /// line or wrapped. The ends of lines may be those of any system, lost, or written as `\n`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = without_quotes(text);
        if is_plain(text) {
            return Self::from_text(text);
        }
        let encoded: String = text
            .chars()
            .filter(|c| !c.is_whitespace())
            // The alphabet for URLs.
            .map(|c| match c {
                '-' => '+',
                '_' => '/',
                other => other,
            })
            .collect();
        let bytes = BASE64
            .decode(&encoded)
            .map_err(with_reason(KeyErrorReason::Malformed))?;
        if bytes.starts_with(OPENSSH_MAGIC) {
            return Self::from_body(OPENSSH_LABEL, &encoded);
        }
        let text = String::from_utf8(bytes).map_err(with_reason(KeyErrorReason::Malformed))?;
        let text = without_quotes(&text);
        if is_plain(text) {
            Self::from_text(text)
        } else {
            Err(KeyErrorReason::Malformed.into())
        }
    }

    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text =
            std::fs::read_to_string(path).map_err(with_reason(KeyErrorReason::Unreadable))?;
        Self::parse(&text)
    }

    fn from_text(text: &str) -> Result<Self, KeyError> {
        // A secret that was pasted into JSON or a shell.
        let text = text.replace("\\r", "").replace("\\n", "\n");
        if text.starts_with(PUTTY_BEGIN) {
            return Self::decode(&text);
        }
        let parts = pem_parts(&text).ok_or(KeyErrorReason::Malformed)?;
        Self::from_body(parts.label, parts.body)
    }

    /// Each format has rules of its own for the ends of lines, so the key is written anew.
    fn from_body(label: &str, body: &str) -> Result<Self, KeyError> {
        let body: String = body.split_whitespace().collect();
        Self::decode(&format!(
            "{PEM_BEGIN}{label}{PEM_DASHES}\n{body}\n{PEM_END}{label}{PEM_DASHES}\n"
        ))
    }

    fn decode(text: &str) -> Result<Self, KeyError> {
        let key = decode_secret_key(text, None).map_err(with_reason(KeyErrorReason::Malformed))?;
        Ok(Self(Arc::new(key)))
    }
}

/// Without white space, quotation marks and a byte order mark around it.
fn without_quotes(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\u{feff}'))
}

fn is_plain(text: &str) -> bool {
    text.contains(PEM_BEGIN) || text.starts_with(PUTTY_BEGIN)
}

struct PemParts<'a> {
    label: &'a str,
    body: &'a str,
}

/// The first private key in a text, which can also hold parameters and comments. `None` also for a key with a
/// passphrase in the older format, which has headers before its body.
fn pem_parts(text: &str) -> Option<PemParts<'_>> {
    text.split(PEM_BEGIN).skip(1).find_map(|block| {
        let (label, rest) = block.split_once(PEM_DASHES)?;
        let (body, _) = rest.split_once(PEM_END)?;
        let is_key = label.ends_with("PRIVATE KEY") && !body.contains(':');
        is_key.then_some(PemParts { label, body })
    })
}
