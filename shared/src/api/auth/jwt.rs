//! Tokens of the identity provider (Privy), signed with ES256. Owns: when a token is valid, and fetching the
//! provider's keys. Expiry is checked against the database's clock, like that of every other credential.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::warn;

use crate::api::problem::Problem;
use crate::failure::{Failure, with_reason};

const ISSUER: &str = "privy.io";
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How much our clock and the provider's may differ.
const LEEWAY_SECONDS: i64 = 60;
/// Tokens that name unknown keys must not make us fetch the key set more often than this.
const MIN_FETCH_INTERVAL: Duration = Duration::from_mins(1);
/// After this, a key that the provider has withdrawn is no longer accepted.
const REFETCH_AFTER: Duration = Duration::from_hours(1);

#[derive(Debug)]
pub struct Privy {
    /// The audience that tokens must name.
    pub app_id: String,
    pub key: PrivyKey,
}

/// Where the provider's public key comes from.
pub enum PrivyKey {
    /// A setting.
    Fixed(Box<DecodingKey>),
    /// A key set at this address; the token names the key's id.
    Remote(reqwest::Url, Mutex<KeyCache>),
}

/// The key set of the provider.
#[derive(Default)]
pub struct KeyCache {
    fetched: Option<Fetched>,
    /// When the provider was last asked, whether or not it answered.
    asked_at: Option<Instant>,
}

struct Fetched {
    at: Instant,
    keys: JwkSet,
}

impl KeyCache {
    /// `None` if nothing was fetched yet, or too long ago.
    fn keys(&self, now: Instant) -> Option<&JwkSet> {
        let fetched = self.fetched.as_ref()?;
        let age = now.saturating_duration_since(fetched.at);
        (age < REFETCH_AFTER).then_some(&fetched.keys)
    }

    fn may_fetch(&self, now: Instant) -> bool {
        self.asked_at
            .is_none_or(|at| now.saturating_duration_since(at) >= MIN_FETCH_INTERVAL)
    }

    /// Takes the result of a fetch; `None` if it failed. Then the set stays: anybody can cause a fetch, with a token
    /// that names an unknown key, and valid tokens must not be refused because of it.
    fn record(&mut self, keys: Option<JwkSet>, now: Instant) {
        self.asked_at = Some(now);
        if let Some(keys) = keys {
            self.fetched = Some(Fetched { at: now, keys });
        }
    }
}

impl std::fmt::Debug for PrivyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Remote(..) => "Remote",
        })
    }
}

/// The claims of a token.
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

    /// Whether the token is valid at this time.
    pub(super) fn is_valid_at(&self, now: DateTime<Utc>) -> bool {
        let now = now.timestamp();
        self.exp > now - LEEWAY_SECONDS
            && self
                .nbf
                .is_none_or(|not_before| not_before <= now + LEEWAY_SECONDS)
    }

    /// From then on [`Self::is_valid_at`] is false; `None` if that is out of the range of times.
    pub(super) fn valid_until(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_secs(self.exp.checked_add(LEEWAY_SECONDS)?)
    }

    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_secs(self.exp)
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

    /// The address of a JSON Web Key Set: https, or http at this machine.
    #[must_use]
    pub fn remote(url: &str) -> Option<Self> {
        let url: reqwest::Url = url.parse().ok()?;
        let is_local = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local);
        is_safe.then(|| Self::Remote(url, Mutex::default()))
    }
}

impl Privy {
    /// Checks a token's form, signature, issuer and audience. `None` if one of them is wrong. Does not check its
    /// time: see [`Claims::is_valid_at`].
    pub(super) async fn verify(&self, token: &str) -> Result<Option<Claims>, Problem> {
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

/// The key with this id. The set is fetched if there is none yet, if it is old, and if it lacks the id, but at
/// most once a minute.
///
/// # Errors
/// 503 if there is no key set.
async fn remote_key(
    url: &reqwest::Url,
    cache: &Mutex<KeyCache>,
    kid: &str,
) -> Result<Option<DecodingKey>, Problem> {
    let mut cache = cache.lock().await;
    let now = Instant::now();
    let key = cache.keys(now).and_then(|keys| find(keys, kid));
    if key.is_some() {
        return Ok(key);
    }
    if cache.may_fetch(now) {
        let keys = fetch(url).await.inspect_err(|error| {
            let cause = error.cause();
            warn!(%error, cause, "tokens are checked with the keys of the last hour, if there are any");
        });
        cache.record(keys.ok(), now);
    }
    let keys = cache.keys(now).ok_or_else(Problem::unavailable)?;
    Ok(find(keys, kid))
}

fn find(keys: &JwkSet, kid: &str) -> Option<DecodingKey> {
    DecodingKey::from_jwk(keys.find(kid)?).ok()
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the identity provider's keys were not fetched")]
struct NotFetched;

async fn fetch(url: &reqwest::Url) -> Result<JwkSet, Failure<NotFetched>> {
    let client = reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(with_reason(NotFetched))?;
    let response = client.get(url.clone()).send().await;
    let response = response.and_then(reqwest::Response::error_for_status);
    let response = response.map_err(not_fetched)?;
    let body = response.bytes().await.map_err(not_fetched)?;
    serde_json::from_slice(&body).map_err(with_reason(NotFetched))
}

/// Leaves out the URL.
fn not_fetched(error: reqwest::Error) -> Failure<NotFetched> {
    Failure::new(NotFetched).with_cause(error.without_url())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key_set() -> JwkSet {
        let set = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "current",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }]});
        serde_json::from_value(set).expect("a key set")
    }

    #[test]
    fn failed_fetches_neither_discard_nor_prolong_a_key_set() {
        let start = Instant::now();
        let mut cache = KeyCache::default();
        let has_key = |cache: &KeyCache, now| {
            cache
                .keys(now)
                .is_some_and(|keys| find(keys, "current").is_some())
        };
        assert!(cache.may_fetch(start));
        cache.record(None, start);
        assert!(!has_key(&cache, start));
        assert!(!cache.may_fetch(start + Duration::from_secs(59)));
        let fetched = start + MIN_FETCH_INTERVAL;
        assert!(cache.may_fetch(fetched));
        cache.record(Some(key_set()), fetched);
        assert!(has_key(&cache, fetched));
        // Tokens with unknown keys cause a fetch a minute, and the provider is down.
        for minute in 1..60 {
            let now = fetched + Duration::from_mins(minute);
            assert!(cache.may_fetch(now), "{minute}");
            cache.record(None, now);
            assert!(!cache.may_fetch(now), "{minute}");
            assert!(has_key(&cache, now), "{minute}");
        }
        assert!(!has_key(&cache, fetched + REFETCH_AFTER));
    }
}
