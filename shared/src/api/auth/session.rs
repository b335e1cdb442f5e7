//! The dashboard's own session cookie. Owns: its form. It names an API key, and key, user and
//! organization are read again at each request: a key that is switched off ends its sessions.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::problem::Problem;

/// The cookie's name; the prefix makes browsers insist on a secure connection and on no domain.
pub(super) const COOKIE: &str = "__Host-milady";
const LIFETIME: TimeDelta = TimeDelta::hours(12);
const SHORTEST_SECRET: usize = 32;
const AUDIENCE: &str = "milady-dashboard";

/// What session cookies are signed with.
pub struct SessionSecret(Vec<u8>);

impl std::fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionSecret")
    }
}

/// A session that was begun.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose.
    pub user_id: Uuid,
    /// The user's organization.
    pub organization_id: Uuid,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// The `Set-Cookie` header.
    pub cookie: String,
}

/// What a cookie says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The key's id.
    sub: Uuid,
    aud: String,
    exp: i64,
}

impl Claims {
    pub(super) fn key_id(&self) -> Uuid {
        self.sub
    }

    pub(super) fn holds_at(&self, now: DateTime<Utc>) -> bool {
        self.exp > now.timestamp()
    }
}

impl SessionSecret {
    /// At least 32 bytes; none for less.
    #[must_use]
    pub fn new(secret: String) -> Option<Self> {
        (secret.len() >= SHORTEST_SECRET).then(|| Self(secret.into_bytes()))
    }

    pub(super) fn begin(
        &self,
        key_id: Uuid,
        user_id: Uuid,
        organization_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Session, Problem> {
        let expires_at = now + LIFETIME;
        let claims = Claims {
            sub: key_id,
            aud: AUDIENCE.to_owned(),
            exp: expires_at.timestamp(),
        };
        let key = EncodingKey::from_secret(&self.0);
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key);
        let token = token.map_err(|_| Problem::internal())?;
        Ok(Session {
            user_id,
            organization_id,
            expires_at,
            cookie: set_cookie(&token, LIFETIME),
        })
    }

    /// What a cookie says, if we signed it.
    pub(super) fn read(&self, token: &str) -> Option<Claims> {
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
    /// The `Set-Cookie` header that ends any session.
    #[must_use]
    pub fn end() -> String {
        set_cookie("", TimeDelta::zero())
    }
}

fn set_cookie(token: &str, lifetime: TimeDelta) -> String {
    let seconds = lifetime.num_seconds();
    format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Strict")
}
