//! Creates SSH keys with ssh-keygen.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::programs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    Ed25519,
    /// ECDSA on the curve P-256.
    Ecdsa,
    /// RSA with 2048 bits.
    Rsa,
}

impl KeyType {
    /// The name that ssh-keygen uses.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }
}

/// The fingerprint of the key in `file`. Creates the key if there is none.
pub(super) fn find_or_create(kind: KeyType, file: &Path) -> Result<String> {
    let public = fs::read_to_string(file.with_extension("pub")).ok();
    let public = public.filter(|_| file.is_file());
    match public.as_deref().and_then(fingerprint) {
        Some(fingerprint) => Ok(fingerprint),
        None => create(kind, file),
    }
}

/// Creates a key without a passphrase in `file`, replacing an existing one, and its public half in
/// `file.pub`. Returns its fingerprint.
pub(super) fn create(kind: KeyType, file: &Path) -> Result<String> {
    let public = file.with_extension("pub");
    for old in [file, &public] {
        // ssh-keygen would ask before overwriting a file.
        let _ = fs::remove_file(old);
    }
    let keygen = programs::find("ssh-keygen", "openssh-client").map_err(anyhow::Error::msg)?;
    let bits = if kind == KeyType::Rsa { "2048" } else { "256" };
    let arguments = [
        "-q",
        "-N",
        "",
        "-C",
        "test",
        "-t",
        kind.name(),
        "-b",
        bits,
        "-f",
    ];
    let arguments: Vec<OsString> = arguments
        .iter()
        .map(Into::into)
        .chain([file.as_os_str().to_owned()])
        .collect();
    programs::run(&keygen, &arguments)?;
    let public = fs::read_to_string(&public).context("ssh-keygen left no public key")?;
    fingerprint(&public).context("ssh-keygen wrote an unreadable public key")
}

/// The fingerprint of a public key, in the format that OpenSSH prints.
fn fingerprint(public: &str) -> Option<String> {
    let key = STANDARD.decode(public.split(' ').nth(1)?).ok()?;
    let digest = STANDARD_NO_PAD.encode(Sha256::digest(key));
    Some(format!("SHA256:{digest}"))
}
