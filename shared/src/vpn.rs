//! Headscale, which runs the private network of hosts and operators. Owns: the request for its nodes, and the
//! shape of the response. Does not own: who may see the nodes.
//!
//! Source: Headscale's `proto/headscale/v1/node.proto` as its JSON gateway writes it, and the older
//! `machine.proto`, in which nodes are called machines and users namespaces.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tracing::warn;
use url::Url;

use crate::failure::{Failure, with_reason};
use crate::secrets::KeptSecret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one request, including reading the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_RESPONSE_BYTES: usize = 4 << 20;
/// The user under which Headscale 0.28 and later show every tagged node (`TaggedDevices` in `hscontrol/types/users.go`).
/// Tags replace the user, so such a node belongs to nobody.
const TAGGED_DEVICES: &str = "tagged-devices";

/// Headscale's API, with a key for it.
pub struct Vpn {
    base: Url,
    key: KeptSecret,
    user: String,
}

/// Shows neither the key nor the address.
impl fmt::Debug for Vpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vpn")
    }
}

pub type VpnError = Failure<VpnErrorReason>;

/// Why the nodes could not be read. The texts hold neither an address nor a text of Headscale's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VpnErrorReason {
    /// The key cannot be read, or is not valid in a header.
    #[error("the key cannot be read")]
    NoKey,
    /// Nothing listens there, or the response broke off.
    #[error("Headscale cannot be reached")]
    Unreachable,
    #[error("Headscale did not answer in time")]
    TimedOut,
    #[error("Headscale refused our key")]
    Refused,
    /// The response is an error, or not a list of nodes.
    #[error("Headscale answered something that is not understood")]
    Protocol,
}

/// A machine in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpnNode {
    pub id: String,
    pub name: String,
    pub given_name: String,
    /// `None` if the node belongs to no user.
    pub user: Option<String>,
    pub ip_addresses: Vec<String>,
    pub online: bool,
    pub last_seen: Option<DateTime<Utc>>,
    /// `None` if its key does not expire.
    pub expiry: Option<DateTime<Utc>>,
    pub created_at: Option<DateTime<Utc>>,
    /// All tags in effect, sorted.
    pub tags: Vec<String>,
}

#[derive(Deserialize)]
struct List {
    #[serde(alias = "machines")]
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: Id,
    name: String,
    #[serde(default)]
    given_name: String,
    #[serde(alias = "namespace")]
    user: Option<User>,
    ip_addresses: Option<Vec<String>>,
    #[serde(default)]
    online: bool,
    last_seen: Option<DateTime<Utc>>,
    expiry: Option<DateTime<Utc>>,
    created_at: Option<DateTime<Utc>>,
    forced_tags: Option<Vec<String>>,
    valid_tags: Option<Vec<String>>,
    /// Replaces the two fields above in newer versions.
    tags: Option<Vec<String>>,
}

/// The JSON gateway writes 64-bit numbers as strings.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

/// Users that an identity provider made may have no name (Headscale 0.24 and later).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    provider_id: String,
}

impl User {
    fn is_nobody(&self) -> bool {
        self.name == TAGGED_DEVICES || self.identities().all(str::is_empty)
    }

    fn is(&self, identity: &str) -> bool {
        self.identities().any(|own| own == identity)
    }

    fn identities(&self) -> impl Iterator<Item = &str> {
        [&self.name, &self.email, &self.provider_id]
            .into_iter()
            .map(String::as_str)
    }
}

impl Vpn {
    /// `None` if the address is neither https nor http on this machine: the key must not travel in the clear.
    #[must_use]
    pub fn new(base: &str, key: KeptSecret, user: String) -> Option<Self> {
        let base: Url = base.parse().ok()?;
        let is_local = matches!(base.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        let is_safe = base.scheme() == "https" || (base.scheme() == "http" && is_local);
        is_safe.then_some(Self { base, key, user })
    }

    /// The user whose nodes are shown.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The nodes of that user and the nodes that belong to no user, in Headscale's order.
    pub async fn nodes(&self) -> Result<Vec<VpnNode>, VpnError> {
        let authorization = self.authorization().await?;
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .user_agent("milady-control-plane")
            .build()
            .map_err(with_reason(VpnErrorReason::Unreachable))?;
        let get = async |resource: &str| {
            let request = client.get(self.url(resource)?);
            let request = request.header(AUTHORIZATION, authorization.clone());
            request.send().await.map_err(classify)
        };
        let mut response = get("node").await?;
        if response.status() == StatusCode::NOT_FOUND {
            response = get("machine").await?;
        }
        let body = read_body(response).await?;
        let list: List = serde_json::from_slice(&body).map_err(|error| {
            let error = VpnError::new(VpnErrorReason::Protocol).with_cause(error);
            warn!(%error, cause = error.cause(), "Headscale's response is not a list of nodes");
            error
        })?;
        let nodes = list.nodes.into_iter();
        Ok(nodes.filter_map(|node| self.shown(node)).collect())
    }

    /// `None` for a node of another user.
    fn shown(&self, mut node: Node) -> Option<VpnNode> {
        let user = node.user.take().filter(|user| !user.is_nobody());
        let is_shown = user.as_ref().is_none_or(|user| user.is(&self.user));
        is_shown.then(|| VpnNode {
            user: user.map(|_| self.user.clone()),
            ..node.into()
        })
    }

    async fn authorization(&self) -> Result<HeaderValue, VpnError> {
        let key = self.key.text().await;
        let key = key.map_err(with_reason(VpnErrorReason::NoKey))?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
            .map_err(with_reason(VpnErrorReason::NoKey))?;
        authorization.set_sensitive(true);
        Ok(authorization)
    }

    fn url(&self, resource: &str) -> Result<Url, VpnError> {
        let mut url = self.base.clone();
        let segments = url.path_segments_mut();
        segments
            .map_err(|()| VpnErrorReason::Protocol)?
            .pop_if_empty()
            .extend(["api", "v1", resource]);
        Ok(url)
    }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, VpnError> {
    let status = response.status();
    if !status.is_success() {
        warn!(status = status.as_u16(), "Headscale refused a request");
        let is_key_refused = matches!(status.as_u16(), 401 | 403);
        return Err(if is_key_refused {
            VpnErrorReason::Refused.into()
        } else {
            VpnErrorReason::Protocol.into()
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(classify)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            let max_bytes = MAX_RESPONSE_BYTES;
            warn!(max_bytes, "Headscale's response is too long");
            return Err(VpnErrorReason::Protocol.into());
        }
    }
    Ok(body)
}

fn classify(error: reqwest::Error) -> VpnError {
    let reason = if error.is_timeout() {
        VpnErrorReason::TimedOut
    } else {
        VpnErrorReason::Unreachable
    };
    let error = VpnError::new(reason).with_cause(error.without_url());
    warn!(%error, cause = error.cause(), "no response from Headscale");
    error
}

/// Without the node's user.
impl From<Node> for VpnNode {
    fn from(node: Node) -> Self {
        // Headscale writes Go's zero time, in the year 1, for "never".
        let unless_zero = |at: Option<DateTime<Utc>>| at.filter(|at| at.year() > 1);
        let tags = [node.forced_tags, node.valid_tags, node.tags];
        let mut tags: Vec<String> = tags.into_iter().flatten().flatten().collect();
        tags.sort();
        tags.dedup();
        Self {
            id: match node.id {
                Id::Text(id) => id,
                Id::Number(id) => id.to_string(),
            },
            name: node.name,
            given_name: node.given_name,
            user: None,
            ip_addresses: node.ip_addresses.unwrap_or_default(),
            online: node.online,
            last_seen: unless_zero(node.last_seen),
            expiry: unless_zero(node.expiry),
            created_at: unless_zero(node.created_at),
            tags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{Secret, Secrets};

    #[test]
    fn the_key_is_only_sent_over_https_or_to_this_machine() {
        for (base, accepted) in [
            ("https://vpn.example", true),
            ("https://vpn.example/below/", true),
            ("http://127.0.0.1:9", true),
            ("http://[::1]:9", true),
            ("http://vpn.example", false),
            ("ftp://127.0.0.1", false),
            ("vpn.example", false),
        ] {
            let key = KeptSecret::new(Secret::Text("word".to_owned()), Secrets::default());
            let vpn = Vpn::new(base, key, "milady".to_owned());
            assert_eq!(vpn.is_some(), accepted, "{base}");
            if let Some(vpn) = vpn {
                assert_eq!(format!("{vpn:?}"), "Vpn");
                let url = vpn.url("node").expect("a URL");
                assert!(url.path().ends_with("/api/v1/node"), "{url}");
                assert!(!url.path().contains("//"), "{url}");
            }
        }
    }
}
