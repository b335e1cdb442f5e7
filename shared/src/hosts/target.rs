//! Where a host is and how it is recognized. Owns: its coordinates, which never leave this layer.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::error::HostError;

/// What finding a name's addresses may take.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(5);

/// The Docker socket of a host that names no other.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// How to reach one host.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The name operators gave it.
    pub node_id: String,
    /// A name or an address.
    pub hostname: String,
    /// The port of its SSH server.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// Its key, as OpenSSH prints SHA-256 fingerprints; none = it is pinned at the first connection.
    pub fingerprint: Option<Fingerprint>,
    /// Where its Docker Engine listens.
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

/// A SHA-256 fingerprint in OpenSSH's base64, without its prefix and padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Reads it with or without `SHA256:`; none for what is no fingerprint.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim();
        let digits = digits
            .strip_prefix("SHA256:")
            .unwrap_or(digits)
            .trim_end_matches('=');
        let base64 = |c: u8| c.is_ascii_alphanumeric() || c == b'+' || c == b'/';
        (digits.len() == 43 && digits.bytes().all(base64)).then(|| Self(digits.to_owned()))
    }

    /// What the database holds as a pin. What is no fingerprint is no key's: it never opens the way to
    /// whoever answers.
    #[must_use]
    pub fn known(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| Self(String::new()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", self.0)
    }
}

/// Which addresses hosts may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Public ones only.
    Public,
    /// Any, for a fleet inside a private network or on one machine.
    Any,
}

impl Allowed {
    /// Whether a host may be at this address.
    #[must_use]
    pub fn permits(self, address: IpAddr) -> bool {
        self == Self::Any || crate::domain::address::is_public(address)
    }

    /// The addresses that a host's name leads to, all of which must be allowed: one is connected to, and
    /// no name is resolved again for that.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn look_up(self, hostname: &str, port: u16) -> Result<Vec<SocketAddr>, HostError> {
        let found = timeout(LOOK_UP_WITHIN, lookup_host((hostname, port))).await;
        let found = found.map_err(|_| HostError::TimedOut)?;
        let addresses: Vec<SocketAddr> = found.map_err(|_| HostError::Unreachable)?.collect();
        if addresses.is_empty() {
            return Err(HostError::Unreachable);
        }
        let allowed = addresses.iter().all(|address| self.permits(address.ip()));
        allowed
            .then_some(addresses)
            .ok_or(HostError::AddressRefused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_in_both_spellings_and_shown_in_one() {
        let digits = "A".repeat(42) + "/";
        for text in [
            format!("SHA256:{digits}"),
            digits.clone(),
            format!(" SHA256:{digits}=\n"),
        ] {
            let read = Fingerprint::parse(&text).expect("a fingerprint");
            assert_eq!(read.to_string(), format!("SHA256:{digits}"));
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
