//! The dashboard's session cookie. Owns: its form. The cookie names an API key; key, user and organization are
//! read anew with each request, so that a key that is switched off or rotated ends its sessions.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::api::problem::{Problem, log_internal};
use crate::db::identity::principals::{ApiKey, SessionOfKey, key_version};
use crate::domain::ids::{ApiKeyId, SessionId};
use crate::domain::redacted::debug_without_secrets;
use crate::failure::Cause;
use crate::random::random_bytes;

/// Browsers accept a cookie with the prefix `__Host-` only over https, and only without a domain.
pub(super) const COOKIE: &str = "__Host-milady";
const LIFETIME: TimeDelta = TimeDelta::hours(12);
const MIN_SECRET_BYTES: usize = 32;
const AUDIENCE: &str = "milady-dashboard";

/// The key that session cookies are signed with.
pub struct SessionSecret(Vec<u8>);

impl std::fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionSecret")
    }
}

#[derive(Clone)]
pub struct Session {
    pub expires_at: DateTime<Utc>,
    /// The `Set-Cookie` header.
    pub cookie: String,
}

debug_without_secrets!(Session: expires_at);

/// The claims of a cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    jti: SessionId,
    /// The API key.
    sub: ApiKeyId,
    /// [`key_version`] of the key.
    ver: String,
    aud: String,
    exp: i64,
}

impl Claims {
    /// `None` if the expiry is out of the range of times.
    pub(super) fn session(&self) -> Option<SessionOfKey> {
        Some(SessionOfKey {
            id: self.jti,
            key_id: self.sub,
            key_version: self.ver.clone(),
            expires_at: self.expires_at()?,
        })
    }

    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_secs(self.exp)
    }
}

impl SessionSecret {
    /// `None` if the secret has less than 32 bytes.
    #[must_use]
    pub fn new(secret: String) -> Option<Self> {
        (secret.len() >= MIN_SECRET_BYTES).then(|| Self(secret.into_bytes()))
    }

    pub(super) fn begin(&self, api_key: &ApiKey, now: DateTime<Utc>) -> Result<Session, Problem> {
        let expires_at = now + LIFETIME;
        let id: [u8; 16] = random_bytes().map_err(log_internal("session not started"))?;
        let claims = Claims {
            jti: SessionId::new(uuid::Builder::from_random_bytes(id).into_uuid()),
            sub: api_key.id,
            ver: key_version(&api_key.hash),
            aud: AUDIENCE.to_owned(),
            exp: expires_at.timestamp(),
        };
        let key = EncodingKey::from_secret(&self.0);
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key);
        let token = token.map_err(log_internal("session cookie not signed"))?;
        Ok(Session {
            expires_at,
            cookie: set_cookie(&token, LIFETIME),
        })
    }

    /// Checks a cookie's signature and audience, and returns its claims. `None` if we did not sign it. Does not check
    /// its time: the look-up of the key does.
    pub(super) fn verify(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        validation.validate_exp = false;
        let key = DecodingKey::from_secret(&self.0);
        let decoded = decode(token, &key, &validation).ok()?;
        Some(decoded.claims)
    }
}

impl Session {
    /// The `Set-Cookie` header that ends a session.
    #[must_use]
    pub fn end() -> String {
        set_cookie("", TimeDelta::zero())
    }
}

/// The texts of this library can hold a part of the token.
impl Cause for jsonwebtoken::errors::Error {
    fn class(&self) -> String {
        "JSON web token error".to_owned()
    }
}

fn set_cookie(token: &str, lifetime: TimeDelta) -> String {
    let seconds = lifetime.num_seconds();
    format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Strict")
}
