//! SSH keys, made with ssh-keygen.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::programs;

/// A kind of host key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// Ed25519.
    Ed25519,
    /// ECDSA on the curve P-256.
    Ecdsa,
    /// RSA of 2048 bits.
    Rsa,
}

impl KeyType {
    /// As ssh-keygen calls it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }
}

/// The fingerprint of the key in `file`, which is made first where there is none.
pub(super) fn find_or_make(kind: KeyType, file: &Path) -> Result<String> {
    let public = fs::read_to_string(file.with_extension("pub")).ok();
    let found = public.filter(|_| file.is_file());
    match found.as_deref().and_then(fingerprint) {
        Some(fingerprint) => Ok(fingerprint),
        None => make(kind, file),
    }
}

/// Makes a key without a passphrase in `file`, in place of the one that is there, its public half in
/// `file.pub`, and returns its fingerprint.
pub(super) fn make(kind: KeyType, file: &Path) -> Result<String> {
    let public = file.with_extension("pub");
    for old in [file, &public] {
        // ssh-keygen would ask before it writes over one.
        let _ = fs::remove_file(old);
    }
    let keygen = programs::find("ssh-keygen", "openssh-client").map_err(anyhow::Error::msg)?;
    let bits = if kind == KeyType::Rsa { "2048" } else { "256" };
    let words = [
        "-q",
        "-N",
        "",
        "-C",
        "test",
        "-t",
        kind.word(),
        "-b",
        bits,
        "-f",
    ];
    let words: Vec<OsString> = words
        .iter()
        .map(Into::into)
        .chain([file.as_os_str().to_owned()])
        .collect();
    programs::run(&keygen, &words)?;
    let public = fs::read_to_string(&public).context("ssh-keygen left no public key")?;
    fingerprint(&public).context("a public key that cannot be read")
}

/// As OpenSSH prints it.
fn fingerprint(public: &str) -> Option<String> {
    let key = STANDARD.decode(public.split(' ').nth(1)?).ok()?;
    let digest = STANDARD_NO_PAD.encode(Sha256::digest(key));
    Some(format!("SHA256:{digest}"))
}
