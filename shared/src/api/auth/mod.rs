//! Who is calling. Owns: reading credentials, and that what they stand for is read from the database
//! at every request. Does not own: what a caller may do with which agent.

mod jwt;
mod session;

use lambda_http::Request;
use lambda_http::http::{HeaderMap, Method};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use subtle::ConstantTimeEq;
use tracing::{field, warn};
use uuid::Uuid;

use super::problem::Problem;
use crate::db::{self, identity::principals::Principal};
pub use jwt::{Privy, PrivyKey};
pub use session::{Session, SessionSecret};

/// What is needed to recognize callers.
#[derive(Debug, Default)]
pub struct Auth {
    /// How the identity provider's tokens are checked; none = they are not accepted.
    pub privy: Option<Privy>,
    /// What our own session cookies are signed with; none = there are none.
    pub session: Option<SessionSecret>,
    /// The origins browsers may call from.
    pub origins: Vec<String>,
}

/// An authenticated caller of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: Uuid,
    /// The user's organization: what every query on tenant data is limited to.
    pub organization_id: Uuid,
    /// The user has a wallet, which admin roles go by.
    pub has_wallet: bool,
    /// The wallet has the role `super_admin`.
    pub super_admin: bool,
}

/// What a request presents.
enum Credential {
    /// SHA-256 of an API key, in hex.
    Key(String),
    Token(jwt::Claims),
    Session(session::Claims),
}

impl Auth {
    /// Finds out who calls, and names them in the request's log line. The first credential there is
    /// counts: `X-API-Key`, `Authorization`, the provider's cookie, our own.
    ///
    /// # Errors
    /// 401 without a valid credential, 403 for an inactive user or organization and for a
    /// state-changing call by cookie from a foreign origin, 503 when the database is away.
    pub async fn caller(&self, pool: &PgPool, request: &Request) -> Result<Caller, Problem> {
        let (credential, by_cookie) = self.credential(request.headers()).await?;
        if by_cookie && !is_read(request.method()) {
            self.origin(request)?;
        }
        let mut conn = pool.acquire().await?;
        let principal = find(&mut conn, &credential)
            .await?
            .ok_or_else(unauthorized)?;
        let Some(organization_id) = principal.organization_id.filter(|_| principal.active) else {
            return Err(Problem::forbidden("This account is not active"));
        };
        tracing::Span::current().record("caller", field::display(principal.user_id));
        touch(&mut conn, &principal).await;
        Ok(Caller {
            user_id: principal.user_id,
            organization_id,
            has_wallet: principal.wallet_address.is_some(),
            super_admin: principal.admin_role.as_deref() == Some("super_admin"),
        })
    }

    /// Lets operators pass.
    ///
    /// # Errors
    /// 401 without a valid credential or without a wallet, 403 for everybody else.
    pub async fn super_admin(&self, pool: &PgPool, request: &Request) -> Result<Caller, Problem> {
        let caller = self.caller(pool, request).await?;
        if !caller.has_wallet {
            return Err(Problem::unauthorized("A wallet is required"));
        }
        if !caller.super_admin {
            return Err(Problem::forbidden("Only operators may do this"));
        }
        Ok(caller)
    }

    /// The origin a browser calls from, which must be one of ours.
    ///
    /// # Errors
    /// 403.
    pub fn origin(&self, request: &Request) -> Result<(), Problem> {
        let origin = text(request.headers(), "origin");
        if self
            .origins
            .iter()
            .any(|known| Some(known.as_str()) == origin)
        {
            Ok(())
        } else {
            Err(Problem::forbidden("This origin is not allowed"))
        }
    }

    /// Begins a session for the holder of an API key.
    ///
    /// # Errors
    /// 401 for a key that is not valid, 403 for an inactive account, 503 without a secret to sign
    /// with or without a database.
    pub async fn begin_session(&self, pool: &PgPool, key: &str) -> Result<Session, Problem> {
        let secret = self.session.as_ref();
        let secret = secret.ok_or_else(|| Problem::not_configured("Sessions are not set up"))?;
        let hash = key_hash(key).ok_or_else(unauthorized)?;
        let mut conn = pool.acquire().await?;
        let principal = find(&mut conn, &Credential::Key(hash)).await?;
        let principal = principal.ok_or_else(unauthorized)?;
        let (Some(organization_id), Some(key), true) =
            (principal.organization_id, principal.key, principal.active)
        else {
            return Err(Problem::forbidden("This account is not active"));
        };
        secret.begin(key.id, principal.user_id, organization_id, principal.now)
    }

    async fn credential(&self, headers: &HeaderMap) -> Result<(Credential, bool), Problem> {
        if let Some(key) = text(headers, "x-api-key") {
            let hash = key_hash(key.trim()).ok_or_else(unauthorized)?;
            return Ok((Credential::Key(hash), false));
        }
        if headers.contains_key("authorization") {
            let token = bearer(headers).ok_or_else(unauthorized)?;
            if let Some(hash) = key_hash(token) {
                return Ok((Credential::Key(hash), false));
            }
            return Ok((Credential::Token(self.token(token).await?), false));
        }
        if let Some(token) = cookie(headers, "privy-token") {
            return Ok((Credential::Token(self.token(token).await?), true));
        }
        let secret = self.session.as_ref().ok_or_else(unauthorized)?;
        let token = cookie(headers, session::COOKIE).ok_or_else(unauthorized)?;
        let claims = secret.read(token).ok_or_else(unauthorized)?;
        Ok((Credential::Session(claims), true))
    }

    async fn token(&self, token: &str) -> Result<jwt::Claims, Problem> {
        let privy = self.privy.as_ref().ok_or_else(unauthorized)?;
        privy.read(token).await?.ok_or_else(unauthorized)
    }
}

/// Reads what a credential stands for; none for one that is not valid at this moment.
async fn find(conn: &mut PgConnection, credential: &Credential) -> sqlx::Result<Option<Principal>> {
    let valid_key = |found: &Principal| found.key.is_some_and(|key| key.valid);
    Ok(match credential {
        Credential::Key(hash) => {
            let found = db::identity::principals::principal_by_key(conn, Some(hash), None).await?;
            found.filter(valid_key)
        }
        Credential::Session(claims) => {
            let found = db::identity::principals::principal_by_key(conn, None, Some(claims.key_id())).await?;
            found.filter(|found| valid_key(found) && claims.holds_at(found.now))
        }
        Credential::Token(claims) => {
            let found = db::identity::principals::principal_by_privy_id(conn, claims.subject()).await?;
            found.filter(|found| claims.holds_at(found.now))
        }
    })
}

async fn touch(conn: &mut PgConnection, principal: &Principal) {
    let Some(key) = principal.key.filter(|key| key.touch_due) else {
        return;
    };
    if let Err(error) = db::identity::principals::key_touch(conn, key.id).await {
        warn!(
            error = db::error_class(&error),
            "the key's last use was not recorded"
        );
    }
}

/// Lets the scheduler's caller pass, and nobody when no secret is configured.
///
/// # Errors
/// 401.
pub fn cron(secret: Option<&str>, request: &Request) -> Result<(), Problem> {
    let given = bearer(request.headers()).unwrap_or_default();
    let known = secret
        .filter(|secret| !secret.is_empty())
        .is_some_and(|secret| {
            Sha256::digest(secret)
                .ct_eq(&Sha256::digest(given)[..])
                .into()
        });
    if known { Ok(()) } else { Err(unauthorized()) }
}

fn unauthorized() -> Problem {
    Problem::unauthorized("A valid credential is required")
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// SHA-256 in hex of `eliza_<64 hex>`; none for anything else.
fn key_hash(key: &str) -> Option<String> {
    let digits = key.strip_prefix("eliza_")?;
    let well_formed = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    well_formed.then(|| hex::encode(Sha256::digest(key)))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, "authorization")?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all("cookie").iter();
    pairs
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}
