//! Tokens of the identity provider (Privy): ES256, signed by its key. Owns: what makes one acceptable.
//! Their time is checked against the database's clock, like that of every other credential.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::warn;

use crate::api::problem::Problem;

const ISSUER: &str = "privy.io";
/// Clocks of two parties differ by this much at most, in seconds.
const LEEWAY: i64 = 60;
/// A key set is not fetched more often than this, whatever tokens name.
const FETCH_AT_MOST_EVERY: Duration = Duration::from_mins(1);
/// A key set is trusted for this long.
const KEEP: Duration = Duration::from_hours(1);

/// How tokens of the provider are checked.
#[derive(Debug)]
pub struct Privy {
    /// What they must be meant for.
    pub app_id: String,
    /// What they must be signed with.
    pub key: PrivyKey,
}

/// Where the provider's public key comes from.
pub enum PrivyKey {
    /// It was configured.
    Fixed(Box<DecodingKey>),
    /// It is fetched from this address, by the id that the token names.
    Remote(reqwest::Url, Mutex<Option<Fetched>>),
}

/// A key set, and when it was fetched; none if the provider did not give one.
pub struct Fetched {
    at: Instant,
    keys: Option<JwkSet>,
}

impl std::fmt::Debug for PrivyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Remote(..) => "Remote",
        })
    }
}

/// What an acceptable token says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    sub: String,
    exp: i64,
    nbf: Option<i64>,
}

impl Claims {
    pub(super) fn subject(&self) -> &str {
        &self.sub
    }

    /// Whether it has begun and not expired.
    pub(super) fn holds_at(&self, now: DateTime<Utc>) -> bool {
        let now = now.timestamp();
        self.exp > now - LEEWAY && self.nbf.is_none_or(|begin| begin <= now + LEEWAY)
    }
}

impl PrivyKey {
    /// A PEM-encoded EC public key; line breaks may be written as `\n`.
    #[must_use]
    pub fn fixed(pem: &str) -> Option<Self> {
        let pem = pem.replace("\\n", "\n");
        let key = DecodingKey::from_ec_pem(pem.as_bytes()).ok()?;
        Some(Self::Fixed(Box::new(key)))
    }

    /// The address of a JSON Web Key Set: https, or http on this machine.
    #[must_use]
    pub fn remote(url: &str) -> Option<Self> {
        let url: reqwest::Url = url.parse().ok()?;
        let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
        let safe = url.scheme() == "https" || (url.scheme() == "http" && local);
        safe.then(|| Self::Remote(url, Mutex::new(None)))
    }
}

impl Privy {
    /// Checks a token's form, signature, issuer and audience; none for one that is not acceptable.
    /// Its time is left to [`Claims::holds_at`].
    pub(super) async fn read(&self, token: &str) -> Result<Option<Claims>, Problem> {
        let Ok(header) = decode_header(token) else {
            return Ok(None);
        };
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[&self.app_id]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_exp = false;
        let decoded = match &self.key {
            PrivyKey::Fixed(key) => decode::<Claims>(token, key, &validation),
            PrivyKey::Remote(url, cache) => {
                let Some(kid) = header.kid else {
                    return Ok(None);
                };
                let Some(key) = remote_key(url, cache, &kid).await? else {
                    return Ok(None);
                };
                decode::<Claims>(token, &key, &validation)
            }
        };
        Ok(decoded.ok().map(|token| token.claims))
    }
}

/// The key of this id. The set is fetched when there is none yet, when it is old, and when it lacks
/// the id, but never more often than once a minute.
async fn remote_key(
    url: &reqwest::Url,
    cache: &Mutex<Option<Fetched>>,
    kid: &str,
) -> Result<Option<DecodingKey>, Problem> {
    let mut cached = cache.lock().await;
    let age = cached.as_ref().map(|fetched| fetched.at.elapsed());
    let known = cached.as_ref().and_then(|fetched| find(fetched, kid));
    let fresh = age.is_some_and(|age| age < KEEP);
    if known.is_some() && fresh {
        return Ok(known);
    }
    if age.is_none_or(|age| age >= FETCH_AT_MOST_EVERY) {
        let keys = fetch(url).await;
        if keys.is_none() {
            warn!("the identity provider's keys could not be fetched");
        }
        *cached = Some(Fetched {
            at: Instant::now(),
            keys,
        });
    }
    match cached.as_ref() {
        Some(Fetched { keys: Some(_), .. }) => {
            Ok(cached.as_ref().and_then(|fetched| find(fetched, kid)))
        }
        _ => Err(Problem::unavailable()),
    }
}

fn find(fetched: &Fetched, kid: &str) -> Option<DecodingKey> {
    let key = fetched.keys.as_ref()?.find(kid)?;
    DecodingKey::from_jwk(key).ok()
}

async fn fetch(url: &reqwest::Url) -> Option<JwkSet> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .ok()?;
    let answer = client.get(url.clone()).send().await.ok()?;
    let body = answer.error_for_status().ok()?.bytes().await.ok()?;
    serde_json::from_slice(&body).ok()
}
