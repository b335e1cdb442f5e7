//! The fields of a host as clients send them. Owns: which values are valid. Does not own: which address a name
//! resolves to.

use std::net::IpAddr;

use serde_json::Value;

use crate::api::body::{Fields, contains_nul};
use crate::hosts::Fingerprint;

pub(super) const NODE_ID_RULE: &str = "must be 1 to 64 letters, digits, dots, dashes and underscores, \
    begin with a letter or a digit, and not be 'sync'";
pub(super) const HOSTNAME_RULE: &str = "must be a host name or an IP address";
pub(super) const DEFAULT_SSH_PORT: u16 = 22;
pub(super) const DEFAULT_SSH_USER: &str = "root";
/// A host has ports for this many agents.
pub(super) const MAX_CAPACITY: i32 = 1000;
/// 100 MiB: with less an agent does not start.
pub(super) const MIN_DISK_BYTES: u64 = 100 << 20;
const MAX_METADATA_BYTES: usize = 16_384;
/// The kernel's limit for the path of a socket.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// `sync` is refused: it is a path below the list of hosts.
pub(super) fn is_node_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=64).contains(&text.len())
        && text.chars().all(is_plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text != "sync"
}

/// An IP address, or a name whose last label does not begin with a digit: resolvers take `127.1` and `0x7f.1` for
/// addresses.
pub(super) fn is_hostname(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    let is_label = |label: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(is_label)
        && !last.starts_with(|c: char| c.is_ascii_digit())
}

pub(super) fn ssh_port(body: &mut Fields) -> Option<u16> {
    let rule = "must be a whole number from 1 to 65535";
    let port = body.optional_integer("sshPort", rule, 1..=65_535)?;
    u16::try_from(port).ok()
}

pub(super) fn ssh_user(body: &mut Fields) -> Option<String> {
    let rule = "must be 1 to 32 letters, digits, dots, dashes and underscores, and begin with a \
        letter or an underscore";
    body.optional_text("sshUser", rule, is_user)
}

fn is_user(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=32).contains(&text.len())
        && text.chars().all(is_plain)
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

pub(super) fn capacity(body: &mut Fields) -> Option<i32> {
    let rule = "must be a whole number from 1 to 1000";
    body.optional_integer("capacity", rule, 1..=MAX_CAPACITY)
}

/// The host key's fingerprint, normalized to the form that is stored.
pub(super) fn fingerprint(body: &mut Fields) -> Option<String> {
    let rule = "must be a SHA-256 fingerprint as OpenSSH prints it";
    let is_fingerprint = |text: &str| Fingerprint::parse(text).is_some();
    let text = body.optional_text("hostKeyFingerprint", rule, is_fingerprint)?;
    Fingerprint::parse(&text).map(|fingerprint| fingerprint.to_string())
}

/// The settings that we read must be valid. Everything else in the metadata belongs to the operators.
pub(super) fn metadata(body: &mut Fields) -> Option<Value> {
    const FIELD: &str = "metadata";
    let metadata = body.optional_map(FIELD)?;
    let setting = |name: &str| metadata.get(name).filter(|value| !value.is_null());
    let text = |value: &Value, accept: fn(&str) -> bool| value.as_str().is_some_and(accept);
    if setting("dockerSocket").is_some_and(|value| !text(value, is_socket)) {
        body.refuse(FIELD, "dockerSocket must be an absolute path");
    }
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    if setting("publishAddress").is_some_and(|value| !text(value, is_address)) {
        body.refuse(FIELD, "publishAddress must be an IP address");
    }
    let is_size = |value: &Value| value.as_u64().is_some_and(|size| size >= MIN_DISK_BYTES);
    if setting("agentDiskBytes").is_some_and(|value| !is_size(value)) {
        body.refuse(FIELD, "agentDiskBytes must be at least 104857600");
    }
    let metadata = Value::Object(metadata);
    if metadata.to_string().len() > MAX_METADATA_BYTES {
        body.refuse(FIELD, "must have at most 16,384 bytes");
    }
    if contains_nul(&metadata) {
        body.refuse(FIELD, "must not hold the character U+0000");
    }
    Some(metadata)
}

fn is_socket(text: &str) -> bool {
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    text.starts_with('/') && text.len() <= MAX_SOCKET_PATH_BYTES && text.chars().all(is_printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_checked() {
        for name in [
            "n1",
            "A",
            "0",
            "node-3.eu_west",
            "sync2",
            "Sync",
            &"a".repeat(64),
        ] {
            assert!(is_node_id(name), "{name}");
        }
        for name in [
            "",
            "sync",
            ".",
            "..",
            "-a",
            "_a",
            "a/b",
            "a b",
            "a%",
            "ä",
            "a\0",
            "a\n",
            &"a".repeat(65),
        ] {
            assert!(!is_node_id(name), "{name:?}");
        }
    }

    #[test]
    fn hostnames_are_names_or_addresses() {
        for text in [
            "node-3.example.com",
            "localhost",
            "my_host",
            "3com.example",
            "1.1.1.1",
            "2606:4700::1111",
            "xn--bcher-kva.example",
            "_a",
            "0xy.a",
            &format!("{}.example", "a".repeat(63)),
        ] {
            assert!(is_hostname(text), "{text}");
        }
        for text in [
            "",
            ".",
            "a.",
            "a..b",
            "-a",
            "a-.b",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "a.3com",
            "a.0x1",
            "1.2.3.4.5",
            "256.1.1.1",
            "[::1]",
            "fe80::1%eth0",
            "a:22",
            "root@a",
            "http://a",
            "a b",
            "a\0",
            "bücher.example",
            "$(id)",
            &format!("{}.example", "a".repeat(64)),
            &"a.".repeat(127).repeat(2),
        ] {
            assert!(!is_hostname(text), "{text:?}");
        }
    }

    #[test]
    fn ssh_users_are_plain_names() {
        for user in ["root", "_svc", "milady-1", "a.b", "R"] {
            assert!(is_user(user), "{user}");
        }
        for user in [
            "",
            "1a",
            "-root",
            "root;id",
            "a b",
            "a@b",
            "a\n",
            &"a".repeat(33),
        ] {
            assert!(!is_user(user), "{user:?}");
        }
    }

    #[test]
    fn sockets_are_absolute_paths() {
        assert!(is_socket("/run/docker.sock") && is_socket("/run/user/1000/my docker.sock"));
        for path in [
            "",
            "docker.sock",
            "unix:///x",
            "tcp://x:1",
            "/a\n",
            &"/a".repeat(60),
        ] {
            assert!(!is_socket(path), "{path:?}");
        }
    }
}
