//! Where a host is and how it is recognized. Owns: the form of its SSH coordinates, which no log shows and no response
//! but those of the operators' routes, and resolving a hostname under the address policy.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::error::HostError;
use crate::domain::address::AddressPolicy;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The Docker socket of a host whose metadata names no other.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// How to reach one host.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The name that operators gave the host.
    pub node_id: String,
    /// A name or an address.
    pub hostname: String,
    /// The port of the SSH server.
    pub port: u16,
    pub user: String,
    /// The pinned host key. `None` if no key is pinned yet: the first connection accepts any key, and the
    /// caller pins it.
    pub fingerprint: Option<Fingerprint>,
    /// The type of the pinned key, as OpenSSH calls it: `ssh-ed25519`. `None` if it is not known yet: then a host that
    /// presents a key of another type is asked for the others (F79).
    pub key_type: Option<String>,
    /// The path of the Docker Engine's socket.
    pub docker_socket: String,
}

/// Shows which host, not where it is.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}

/// A SHA-256 fingerprint in OpenSSH's base64, without prefix or padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Parses a fingerprint with or without `SHA256:`. `None` if the text is not a fingerprint.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.trim();
        let encoded = encoded
            .strip_prefix("SHA256:")
            .unwrap_or(encoded)
            .trim_end_matches('=');
        let is_base64 = |c: u8| c.is_ascii_alphanumeric() || c == b'+' || c == b'/';
        (encoded.len() == 43 && encoded.bytes().all(is_base64)).then(|| Self(encoded.to_owned()))
    }

    /// A stored pin. A text that is not a fingerprint becomes a pin that matches no key:
    /// a damaged row must not turn into "accept any key".
    #[must_use]
    pub fn from_pin(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| Self(String::new()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", self.0)
    }
}

/// Resolves a hostname. The policy must allow all of its addresses. Callers connect to one of the returned
/// addresses: resolving again could give an address that was not checked.
pub async fn resolve_hostname(
    policy: AddressPolicy,
    hostname: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, HostError> {
    let resolved = timeout(RESOLVE_TIMEOUT, lookup_host((hostname, port)))
        .await
        .map_err(|_: Elapsed| HostReadError::TimedOut)?;
    let addresses: Vec<SocketAddr> = resolved
        .map_err(with_reason(HostReadError::Unreachable))?
        .collect();
    if addresses.is_empty() {
        return Err(HostReadError::Unreachable.into());
    }
    if !addresses.iter().all(|address| policy.allows(address.ip())) {
        return Err(HostReadError::AddressRefused.into());
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_parse_with_and_without_prefix_and_display_with_it() {
        let digits = "A".repeat(42) + "/";
        for text in [
            format!("SHA256:{digits}"),
            digits.clone(),
            format!(" SHA256:{digits}=\n"),
        ] {
            let fingerprint = Fingerprint::parse(&text).expect("a fingerprint");
            assert_eq!(fingerprint.to_string(), format!("SHA256:{digits}"));
        }
        for text in [
            "",
            "SHA256:",
            "MD5:00:11",
            &"A".repeat(42),
            &"A".repeat(44),
            &"-".repeat(43),
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
