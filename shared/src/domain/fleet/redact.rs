//! Redaction of texts and values that operators or other software wrote. Owns: that no address of a host
//! and no secret is left in them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Replaces a redacted word.
const HIDDEN: &str = "[hidden]";
/// Words in a key whose value can be part of an address.
#[rustfmt::skip]
const ADDRESS_WORDS: &[&str] = &[
    "ssh", "port", "user", "ip", "url", "uri", "vpn", "bridge", "socket", "proxy",
    "headscale", "tailscale", "domain", "dns", "fingerprint",
];
/// Words in a key whose value can be a secret.
#[rustfmt::skip]
const SECRET_WORDS: &[&str] = &[
    "key", "token", "secret", "password", "passphrase", "passwd", "credential", "apikey", "privatekey",
];

/// A host's metadata without addresses and secrets: flags, whole numbers, and texts without the punctuation
/// that every address needs, under keys that name neither an address nor a secret. Other values are
/// dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Raw>")]
pub struct Metadata(BTreeMap<String, MetadataValue>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum MetadataValue {
    Flag(bool),
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Flag(bool),
    Number(i64),
    Text(String),
    Other(IgnoredAny),
}

impl From<BTreeMap<String, Raw>> for Metadata {
    fn from(raw: BTreeMap<String, Raw>) -> Self {
        let values = raw.into_iter().filter_map(|(key, value)| {
            let value = match value {
                Raw::Flag(flag) => MetadataValue::Flag(flag),
                Raw::Number(number) => MetadataValue::Number(number),
                Raw::Text(text) => MetadataValue::Text(text),
                Raw::Other(_) => return None,
            };
            Some((key, value))
        });
        Self::new(values)
    }
}

impl Metadata {
    /// Drops every entry that may hold an address or a secret.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (String, MetadataValue)>) -> Self {
        let harmless = entries.into_iter().filter(|(key, value)| {
            let plain = match value {
                MetadataValue::Flag(_) | MetadataValue::Number(_) => true,
                MetadataValue::Text(text) => is_plain(text),
            };
            plain && is_plain(key) && !names_address(key) && !names_secret(key)
        });
        Self(harmless.collect())
    }
}

/// Whether the text has no dot, colon, slash, bracket or at sign. Every address needs one of them.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | ',' | '+' | '%');
    text.chars().all(plain)
}

/// `publishAddress`, `ssh_port`, `hostname`.
fn names_address(key: &str) -> bool {
    words(key).any(|word| {
        ADDRESS_WORDS.contains(&word.as_str())
            || word.starts_with("host")
            || word.starts_with("addr")
    })
}

/// `apiToken`, `SSH_PRIVATE_KEY`.
fn names_secret(key: &str) -> bool {
    words(key).any(|word| SECRET_WORDS.contains(&word.as_str()))
}

/// The words of a key in lower case, without a plural s: `publishAddresses` gives `publish` and `addresse`.
fn words(key: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut after_lowercase = false;
    for c in key.chars() {
        let begins_word = (c.is_uppercase() && after_lowercase) || !c.is_alphanumeric();
        if begins_word {
            words.push(String::new());
        }
        after_lowercase = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words
        .into_iter()
        .map(|word| word.strip_suffix('s').unwrap_or(&word).to_owned())
}

/// Removes the fields whose key names a secret, at any depth. Addresses stay: super admins may know where a
/// host is.
#[must_use]
pub fn redact_secrets(stored: Value) -> Value {
    match stored {
        Value::Object(fields) => {
            let harmless = fields.into_iter().filter(|(key, _)| !names_secret(key));
            let redacted = harmless.map(|(key, value)| (key, redact_secrets(value)));
            Value::Object(redacted.collect())
        }
        Value::Array(values) => values.into_iter().map(redact_secrets).collect(),
        plain => plain,
    }
}

/// Replaces words that lead to a host: addresses, names with dots, URLs, `user@host`, and the number after
/// `port`. The older deployment wrote the raw output of its tools into `error_message`.
#[must_use]
pub fn redact_addresses(text: &str) -> String {
    let mut after_port = false;
    let words = text.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let number = bare.chars().all(|c| c.is_ascii_digit()) && !bare.is_empty();
        let hide = is_address(word, bare) || (after_port && number);
        after_port = bare.eq_ignore_ascii_case("port");
        if hide { HIDDEN } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_address(word: &str, bare: &str) -> bool {
    let parts = || {
        bare.split([
            '/', '=', ',', ';', '"', '\'', '(', ')', '[', ']', '\n', '\t',
        ])
    };
    word.contains("://")
        || word.contains('@')
        || word.parse::<IpAddr>().is_ok()
        || word.parse::<SocketAddr>().is_ok()
        || parts().any(|part| part.parse::<IpAddr>().is_ok() || is_dotted(part))
}

/// `10.0.0.7`, `node-3.example.com`, with or without a port; not `5.157`, not `e.g.`.
fn is_dotted(part: &str) -> bool {
    let part = part.trim_end_matches([':', '.']);
    let (name, number) = part.rsplit_once(':').unwrap_or((part, ""));
    let labels: Vec<&str> = name.split('.').collect();
    let label = |label: &&str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let Some(last) = labels.last().filter(|_| labels.len() > 1) else {
        return false;
    };
    let ends_like_a_domain = last.len() > 1 && last.chars().all(char::is_alphabetic);
    let is_ipv4 = labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok());
    labels.iter().all(label)
        && number.chars().all(|c| c.is_ascii_digit())
        && (ends_like_a_domain || is_ipv4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_drops_addresses_and_secrets() {
        let raw = r#"{
            "region": "eu-central", "tier": "large", "cores": 16, "spot": true, "dockerSocket": "x",
            "publishAddress": "0.0.0.0", "note": "behind 10.0.0.1", "hostname": "db1", "hostName": "a",
            "sshPort": 22, "ssh_user": "root", "vpn": "wg0", "headscaleIp": "x", "ip": "x", "rack": null,
            "labels": {"a": 1}, "weight": 1.5, "fe80::1": "x", "ports": 3, "description": "north, rack 4",
            "owner": "ops@example.com", "zone.a": "x", "addresses": "x", "hosts": 2, "ipv4": "a.b"
        }"#;
        let metadata: Metadata = serde_json::from_str(raw).expect("metadata");
        let redacted = serde_json::to_string(&metadata).expect("json");
        assert_eq!(
            redacted,
            r#"{"cores":16,"description":"north, rack 4","region":"eu-central","spot":true,"tier":"large"}"#
        );
        let again: Metadata = serde_json::from_str(&redacted).expect("metadata");
        assert_eq!(again, metadata);
    }

    #[test]
    fn redact_secrets_removes_secret_fields_at_any_depth() {
        let stored = serde_json::json!({
            "region": "eu", "dockerSocket": "/run/docker.sock", "publishAddress": "10.0.0.1",
            "apiToken": "x", "SSH_PRIVATE_KEY": "x", "passwords": ["x"], "keyboard": "de", "monkey": 1,
            "labels": [{"rack": 4, "credentials": {"a": 1}}, "plain", null],
        });
        let redacted = serde_json::json!({
            "region": "eu", "dockerSocket": "/run/docker.sock", "publishAddress": "10.0.0.1",
            "keyboard": "de", "monkey": 1, "labels": [{"rack": 4}, "plain", null],
        });
        assert_eq!(redact_secrets(stored), redacted);
    }

    #[test]
    fn redact_addresses_replaces_words_that_lead_to_a_host() {
        for (text, redacted) in [
            ("The container has exited", "The container has exited"),
            (
                "It took 5.157 s, e.g. too long.",
                "It took 5.157 s, e.g. too long.",
            ),
            (
                "ssh: connect to host node-3.example.com port 2222: Connection refused",
                "ssh: connect to host [hidden] port [hidden] Connection refused",
            ),
            (
                "dial tcp 10.0.0.7:2375: timeout",
                "dial tcp [hidden] timeout",
            ),
            ("root@db1: denied", "[hidden] denied"),
            ("GET http://x:1/health failed", "GET [hidden] failed"),
            ("to [fd7a:115c:a1e0::1]:31337.", "to [hidden]"),
            ("via fd7a:115c:a1e0::1", "via [hidden]"),
            ("(100.64.0.3) is gone", "[hidden] is gone"),
            ("addr=\"100.64.0.3\"", "[hidden]"),
            ("node.internal:22 is gone", "[hidden] is gone"),
            ("exit code 137 at 12:30:45", "exit code 137 at 12:30:45"),
            (
                "pull milady/agent:cloud-full-ui",
                "pull milady/agent:cloud-full-ui",
            ),
        ] {
            assert_eq!(redact_addresses(text), redacted);
        }
    }
}
