//! What may be shown of texts and values that others wrote. Owns: that nothing in them leads to a host.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What stands for a word that is not shown.
const HIDDEN: &str = "[hidden]";
/// Words in a key that say that its value leads somewhere.
#[rustfmt::skip]
const LEADING: &[&str] = &[
    "ssh", "port", "user", "ip", "url", "uri", "vpn", "bridge", "socket", "proxy",
    "headscale", "tailscale", "domain", "dns", "fingerprint",
];
/// Words in a key that say that its value opens something.
#[rustfmt::skip]
const OPENING: &[&str] = &[
    "key", "token", "secret", "password", "passphrase", "passwd", "credential", "apikey", "privatekey",
];

/// A host's metadata as far as it is shown: flags, whole numbers, and words without the signs that
/// addresses are made of, under keys that promise none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Raw>")]
pub struct Metadata(BTreeMap<String, Fact>);

/// A value of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the kinds of JSON")]
pub enum Fact {
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
        let shown = raw.into_iter().filter_map(|(key, value)| {
            let value = match value {
                Raw::Flag(flag) => Fact::Flag(flag),
                Raw::Number(number) => Fact::Number(number),
                Raw::Text(text) => Fact::Text(text),
                Raw::Other(_) => return None,
            };
            Some((key, value))
        });
        Self::new(shown)
    }
}

impl Metadata {
    /// Keeps what may be shown.
    #[must_use]
    pub fn new(facts: impl IntoIterator<Item = (String, Fact)>) -> Self {
        let shown = facts.into_iter().filter(|(key, fact)| {
            let plain = match fact {
                Fact::Flag(_) | Fact::Number(_) => true,
                Fact::Text(text) => is_plain(text),
            };
            plain && is_plain(key) && !leads(key)
        });
        Self(shown.collect())
    }
}

/// No dot, colon, slash, bracket or at sign: no address can be written without one of them.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | ',' | '+' | '%');
    text.chars().all(plain)
}

/// Whether one of the key's words is a leading or an opening one: `publishAddress`, `ssh_port`,
/// `hostname`, `apiToken`.
fn leads(key: &str) -> bool {
    let leading = |word: &str| {
        LEADING.contains(&word) || word.starts_with("host") || word.starts_with("addr")
    };
    words(key).any(|word| leading(&word)) || opens(key)
}

/// Whether one of the key's words is an opening one.
fn opens(key: &str) -> bool {
    words(key).any(|word| OPENING.contains(&word.as_str()))
}

/// A key's words in small letters, without the s at their ends.
fn words(key: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in key.chars() {
        let begins = (c.is_uppercase() && after_small) || !c.is_alphanumeric();
        if begins {
            words.push(String::new());
        }
        after_small = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words
        .into_iter()
        .map(|word| word.strip_suffix('s').unwrap_or(&word).to_owned())
}

/// What was stored, without what keys such as `apiToken` hold, at any depth. Operators, who may know
/// where a host is, see this.
#[must_use]
pub fn without_secrets(stored: Value) -> Value {
    match stored {
        Value::Object(fields) => {
            let shown = fields.into_iter().filter(|(key, _)| !opens(key));
            let shown = shown.map(|(key, value)| (key, without_secrets(value)));
            Value::Object(shown.collect())
        }
        Value::Array(values) => values.into_iter().map(without_secrets).collect(),
        plain => plain,
    }
}

/// The text without words that lead to a host: addresses, names with dots, URLs, `user@host`, and the
/// number after `port`. An older deployment wrote what its tools printed into `error_message`.
#[must_use]
pub fn without_addresses(text: &str) -> String {
    let mut after_port = false;
    let shown = text.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let number = bare.chars().all(|c| c.is_ascii_digit()) && !bare.is_empty();
        let hide = is_address(word, bare) || (after_port && number);
        after_port = bare.eq_ignore_ascii_case("port");
        if hide { HIDDEN } else { word }
    });
    shown.collect::<Vec<_>>().join(" ")
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

/// `10.0.0.7`, `node-3.example.com`, with or without a port. A number with a point is none, nor is
/// `e.g.`.
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
    let ends_as_a_name = last.len() > 1 && last.chars().all(char::is_alphabetic);
    let is_four = labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok());
    labels.iter().all(label)
        && number.chars().all(|c| c.is_ascii_digit())
        && (ends_as_a_name || is_four)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_what_leads_nowhere() {
        let raw = r#"{
            "region": "eu-central", "tier": "large", "cores": 16, "spot": true, "dockerSocket": "x",
            "publishAddress": "0.0.0.0", "note": "behind 10.0.0.1", "hostname": "db1", "hostName": "a",
            "sshPort": 22, "ssh_user": "root", "vpn": "wg0", "headscaleIp": "x", "ip": "x", "rack": null,
            "labels": {"a": 1}, "weight": 1.5, "fe80::1": "x", "ports": 3, "description": "north, rack 4",
            "owner": "ops@example.com", "zone.a": "x", "addresses": "x", "hosts": 2, "ipv4": "a.b"
        }"#;
        let metadata: Metadata = serde_json::from_str(raw).expect("metadata");
        let shown = serde_json::to_string(&metadata).expect("json");
        assert_eq!(
            shown,
            r#"{"cores":16,"description":"north, rack 4","region":"eu-central","spot":true,"tier":"large"}"#
        );
        let again: Metadata = serde_json::from_str(&shown).expect("metadata");
        assert_eq!(again, metadata);
    }

    #[test]
    fn operators_see_all_of_the_metadata_but_secrets() {
        let stored = serde_json::json!({
            "region": "eu", "dockerSocket": "/run/docker.sock", "publishAddress": "10.0.0.1",
            "apiToken": "x", "SSH_PRIVATE_KEY": "x", "passwords": ["x"], "keyboard": "de", "monkey": 1,
            "labels": [{"rack": 4, "credentials": {"a": 1}}, "plain", null],
        });
        let shown = serde_json::json!({
            "region": "eu", "dockerSocket": "/run/docker.sock", "publishAddress": "10.0.0.1",
            "keyboard": "de", "monkey": 1, "labels": [{"rack": 4}, "plain", null],
        });
        assert_eq!(without_secrets(stored), shown);
    }

    #[test]
    fn words_that_lead_to_a_host_are_not_shown() {
        for (text, shown) in [
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
            assert_eq!(without_addresses(text), shown);
        }
    }
}
