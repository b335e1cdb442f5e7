//! Headscale, which runs the private network of hosts and operators. Owns: the one request there is, and
//! the shapes of its answers. Does not own: who may see them.
//!
//! The shapes are those of Headscale's `proto/headscale/v1/node.proto` in its JSON gateway's form, and of
//! the `machine.proto` that came before: there nodes are machines and users namespaces.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tracing::warn;
use url::Url;

use crate::secrets::{Secret, Secrets};

/// What one request may take, its answer included.
const WITHIN: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 4 << 20;

/// Headscale, and a key of its API.
pub struct Vpn {
    base: Url,
    key: Secret,
    secrets: Secrets,
    user: String,
}

/// Nothing of the key, nor of the address.
impl fmt::Debug for Vpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vpn")
    }
}

/// Nothing is known of the network. What it displays holds neither an address nor a text of Headscale's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VpnError {
    /// The key is not where it should be, or is none.
    #[error("the key cannot be read")]
    NoKey,
    /// Nobody listens there, or the answer broke off.
    #[error("Headscale cannot be reached")]
    Unreachable,
    /// There was no answer in time.
    #[error("Headscale did not answer in time")]
    TimedOut,
    /// The key is not taken.
    #[error("Headscale refused our key")]
    Refused,
    /// The answer was an error, or is not understood.
    #[error("Headscale answered something that is not understood")]
    Protocol,
}

/// A machine in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Headscale's own words")]
pub struct VpnNode {
    pub id: String,
    pub name: String,
    pub given_name: String,
    /// None: it has no owner.
    pub user: Option<String>,
    pub ip_addresses: Vec<String>,
    pub online: bool,
    pub last_seen: Option<DateTime<Utc>>,
    /// None: its key does not expire.
    pub expiry: Option<DateTime<Utc>>,
    pub created_at: Option<DateTime<Utc>>,
    /// Those that hold.
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
    /// What newer versions have instead of the two above.
    tags: Option<Vec<String>>,
}

/// The gateway writes numbers of 64 bits as texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    name: String,
}

impl Vpn {
    /// Headscale at `base`; none for an address that is neither https nor http on this machine.
    #[must_use]
    pub fn new(base: &str, key: Secret, secrets: Secrets, user: String) -> Option<Self> {
        let base: Url = base.parse().ok()?;
        let local = matches!(base.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        let safe = base.scheme() == "https" || (base.scheme() == "http" && local);
        safe.then_some(Self {
            base,
            key,
            secrets,
            user,
        })
    }

    /// Whose nodes are shown.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The nodes of that user, and those that have none, as Headscale orders them.
    ///
    /// # Errors
    /// [`VpnError`].
    pub async fn nodes(&self) -> Result<Vec<VpnNode>, VpnError> {
        let key = self.secrets.read(&self.key).await;
        let key = key.map_err(|_| VpnError::NoKey)?;
        let authorization = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
        let mut authorization = authorization.map_err(|_| VpnError::NoKey)?;
        authorization.set_sensitive(true);
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .timeout(WITHIN)
            .user_agent("milady-control-plane")
            .build()
            .map_err(|_| VpnError::Unreachable)?;
        let get = async |what: &str| {
            let request = client.get(self.url(what)?);
            let request = request.header(AUTHORIZATION, authorization.clone());
            request.send().await.map_err(|error| kind(&error))
        };
        let mut answer = get("node").await?;
        if answer.status() == StatusCode::NOT_FOUND {
            answer = get("machine").await?;
        }
        let list: List = serde_json::from_slice(&body(answer).await?).map_err(|_| {
            warn!("Headscale answered something that is no list");
            VpnError::Protocol
        })?;
        let ours = |node: &VpnNode| node.user.as_ref().is_none_or(|user| *user == self.user);
        Ok(list
            .nodes
            .into_iter()
            .map(VpnNode::from)
            .filter(ours)
            .collect())
    }

    fn url(&self, what: &str) -> Result<Url, VpnError> {
        let mut url = self.base.clone();
        let segments = url.path_segments_mut();
        segments
            .map_err(|()| VpnError::Protocol)?
            .pop_if_empty()
            .extend(["api", "v1", what]);
        Ok(url)
    }
}

async fn body(mut answer: Response) -> Result<Vec<u8>, VpnError> {
    let status = answer.status();
    if !status.is_success() {
        warn!(status = status.as_u16(), "Headscale refused a request");
        let refused = matches!(status.as_u16(), 401 | 403);
        return Err(if refused {
            VpnError::Refused
        } else {
            VpnError::Protocol
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| kind(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            warn!("Headscale's answer is too long");
            return Err(VpnError::Protocol);
        }
    }
    Ok(body)
}

fn kind(error: &reqwest::Error) -> VpnError {
    let kind = if error.is_timeout() {
        VpnError::TimedOut
    } else {
        VpnError::Unreachable
    };
    warn!(?kind, "Headscale did not answer");
    kind
}

impl From<Node> for VpnNode {
    fn from(node: Node) -> Self {
        // The year 1 stands for never.
        let said = |at: Option<DateTime<Utc>>| at.filter(|at| at.year() > 1);
        let tags = [node.forced_tags, node.valid_tags, node.tags];
        let mut tags: Vec<String> = tags.into_iter().flatten().flatten().collect();
        tags.sort();
        tags.dedup();
        let user = node.user.map(|user| user.name);
        Self {
            id: match node.id {
                Id::Text(id) => id,
                Id::Number(id) => id.to_string(),
            },
            name: node.name,
            given_name: node.given_name,
            user: user.filter(|name| !name.is_empty()),
            ip_addresses: node.ip_addresses.unwrap_or_default(),
            online: node.online,
            last_seen: said(node.last_seen),
            expiry: said(node.expiry),
            created_at: said(node.created_at),
            tags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_to_https_or_stays_here() {
        for (base, taken) in [
            ("https://vpn.example", true),
            ("https://vpn.example/below/", true),
            ("http://127.0.0.1:9", true),
            ("http://[::1]:9", true),
            ("http://vpn.example", false),
            ("ftp://127.0.0.1", false),
            ("vpn.example", false),
        ] {
            let key = Secret::Text("word".to_owned());
            let vpn = Vpn::new(base, key, Secrets::new(), "milady".to_owned());
            assert_eq!(vpn.is_some(), taken, "{base}");
            if let Some(vpn) = vpn {
                assert_eq!(format!("{vpn:?}"), "Vpn");
                let url = vpn.url("node").expect("a URL");
                assert!(url.path().ends_with("/api/v1/node"), "{url}");
                assert!(!url.path().contains("//"), "{url}");
            }
        }
    }
}
