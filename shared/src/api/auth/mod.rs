//! Who is calling. Owns: reading credentials, and looking up their holder in the database on every
//! request. Does not own: what a caller may do with which agent.

mod jwt;
mod session;

use chrono::{DateTime, Utc};
use lambda_http::Request;
use lambda_http::http::{HeaderMap, Method};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{field, warn};

use super::problem::Problem;
use crate::db;
use crate::db::identity::principals::{
    Principal, api_key_touch, principal_by_key_hash, principal_by_key_id, principal_by_privy_id,
};
use crate::db::{Connection, Database};
use crate::domain::ids::{AgentId, AgentRef, OrganizationId, UserId};
pub use jwt::{Privy, PrivyKey};
pub use session::{Session, SessionSecret};

/// Recognizes callers.
#[derive(Debug, Default)]
pub struct Auth {
    /// `None` if tokens of the identity provider are not accepted.
    pub privy: Option<Privy>,
    /// `None` if there are no sessions.
    pub session: Option<SessionSecret>,
    /// The origins that browsers may call from.
    pub origins: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: UserId,
    /// Every query on tenant data is limited to this organization.
    pub organization_id: OrganizationId,
    pub is_super_admin: bool,
}

impl Caller {
    /// An agent of the caller's organization. Whether it exists is not checked.
    #[must_use]
    pub fn agent(&self, agent_id: AgentId) -> AgentRef {
        AgentRef {
            organization_id: self.organization_id,
            agent_id,
        }
    }
}

/// A caller, and for how long their credential is valid.
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub caller: Caller,
    /// `None` for an API key, which is valid until it is revoked or expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// The time of billing's clock.
    pub now: DateTime<Utc>,
}

/// A caller who has just got a session.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub authenticated: Authenticated,
    /// The `Set-Cookie` header.
    pub cookie: String,
}

enum Credential {
    /// SHA-256 of an API key, in hex.
    Key(String),
    Token(jwt::Claims),
    Session(session::Claims),
}

impl Auth {
    /// Authenticates the caller and adds its id to the request's log line. Only the first credential counts, in
    /// this order: `X-API-Key`, `Authorization`, the provider's cookie, our own cookie.
    ///
    /// # Errors
    /// 401 without a valid credential; 403 if user or organization is inactive, or if a request that changes
    /// something comes by cookie from a foreign origin; 503 if the database cannot be reached.
    pub async fn authenticate(
        &self,
        pool: &Database,
        request: &Request,
    ) -> Result<Authenticated, Problem> {
        let (credential, is_cookie) = self.credential(request.headers()).await?;
        if is_cookie && !is_read(request.method()) {
            self.check_origin(request)?;
        }
        let mut conn = pool.statements();
        let principal = find(&mut conn, &credential)
            .await?
            .ok_or_else(unauthorized)?;
        let caller = caller_of(&principal)?;
        tracing::Span::current().record("caller", field::display(principal.user_id));
        touch(&mut conn, &principal).await;
        Ok(Authenticated {
            caller,
            expires_at: credential.expires_at(),
            now: principal.now,
        })
    }

    /// [`Self::authenticate`], for those who need not know more than who is calling.
    ///
    /// # Errors
    /// The same.
    pub async fn caller(&self, pool: &Database, request: &Request) -> Result<Caller, Problem> {
        Ok(self.authenticate(pool, request).await?.caller)
    }

    /// Authenticates a caller who must be a super admin.
    ///
    /// # Errors
    /// 401 without a valid credential, 403 for any other caller.
    pub async fn super_admin(&self, pool: &Database, request: &Request) -> Result<Caller, Problem> {
        let caller = self.caller(pool, request).await?;
        if !caller.is_super_admin {
            return Err(Problem::forbidden("Only operators may do this"));
        }
        Ok(caller)
    }

    /// # Errors
    /// 403 if the request's `Origin` is not one of the allowed ones.
    pub fn check_origin(&self, request: &Request) -> Result<(), Problem> {
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
    /// 401 if the key is not valid, 403 if the account is inactive, 503 if there is no secret to sign with or the
    /// database cannot be reached.
    pub async fn begin_session(&self, pool: &Database, key: &str) -> Result<SignedIn, Problem> {
        let secret = self.session.as_ref();
        let secret = secret.ok_or_else(|| Problem::not_configured("Sessions are not set up"))?;
        let hash = key_hash(key).ok_or_else(unauthorized)?;
        let mut conn = pool.statements();
        let principal = find(&mut conn, &Credential::Key(hash)).await?;
        let principal = principal.ok_or_else(unauthorized)?;
        let caller = caller_of(&principal)?;
        let key = principal.key.ok_or_else(unauthorized)?;
        let session = secret.begin(key.id, principal.now)?;
        Ok(SignedIn {
            authenticated: Authenticated {
                caller,
                expires_at: Some(session.expires_at),
                now: principal.now,
            },
            cookie: session.cookie,
        })
    }

    /// The request's credential, and whether it is a cookie.
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
            return Ok((Credential::Token(self.verify_token(token).await?), false));
        }
        if let Some(token) = cookie(headers, "privy-token") {
            return Ok((Credential::Token(self.verify_token(token).await?), true));
        }
        let secret = self.session.as_ref().ok_or_else(unauthorized)?;
        let token = cookie(headers, session::COOKIE).ok_or_else(unauthorized)?;
        let claims = secret.verify(token).ok_or_else(unauthorized)?;
        Ok((Credential::Session(claims), true))
    }

    async fn verify_token(&self, token: &str) -> Result<jwt::Claims, Problem> {
        let privy = self.privy.as_ref().ok_or_else(unauthorized)?;
        privy.verify(token).await?.ok_or_else(unauthorized)
    }
}

impl Credential {
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Key(_) => None,
            Self::Token(claims) => claims.expires_at(),
            Self::Session(claims) => claims.expires_at(),
        }
    }
}

/// # Errors
/// 403 if user or organization is inactive.
fn caller_of(principal: &Principal) -> Result<Caller, Problem> {
    let organization_id = principal.organization_id.filter(|_| principal.active);
    let organization_id =
        organization_id.ok_or_else(|| Problem::forbidden("This account is not active"))?;
    Ok(Caller {
        user_id: principal.user_id,
        organization_id,
        is_super_admin: principal.admin_role.as_deref() == Some("super_admin"),
    })
}

/// Reads what a credential stands for. `None` if the credential is not valid now.
async fn find(conn: &mut Connection, credential: &Credential) -> sqlx::Result<Option<Principal>> {
    let has_valid_key = |principal: &Principal| principal.key.is_some_and(|key| key.valid);
    Ok(match credential {
        Credential::Key(hash) => {
            let principal = principal_by_key_hash(conn, hash).await?;
            principal.filter(has_valid_key)
        }
        Credential::Session(claims) => {
            let principal = principal_by_key_id(conn, claims.key_id()).await?;
            principal
                .filter(|principal| has_valid_key(principal) && claims.is_valid_at(principal.now))
        }
        Credential::Token(claims) => {
            let principal = principal_by_privy_id(conn, claims.subject()).await?;
            principal.filter(|principal| claims.is_valid_at(principal.now))
        }
    })
}

/// Records the key's use. A failure does not fail the request.
async fn touch(conn: &mut Connection, principal: &Principal) {
    let Some(key) = principal.key.filter(|key| key.touch_due) else {
        return;
    };
    if let Err(error) = api_key_touch(conn, key.id).await {
        warn!(
            error = db::error_class(&error),
            api_key.id = %key.id,
            "last use of an API key not recorded"
        );
    }
}

/// Authenticates the caller of the cron route by its bearer token.
///
/// # Errors
/// 401 if the token is not the secret, or if there is no secret.
pub fn check_cron_secret(secret: Option<&str>, request: &Request) -> Result<(), Problem> {
    let presented = bearer(request.headers()).unwrap_or_default();
    // Hashed first, so that the comparison's time depends on neither text.
    let is_known = secret
        .filter(|secret| !secret.is_empty())
        .is_some_and(|secret| {
            Sha256::digest(secret)
                .ct_eq(&Sha256::digest(presented)[..])
                .into()
        });
    if is_known {
        Ok(())
    } else {
        Err(unauthorized())
    }
}

fn unauthorized() -> Problem {
    Problem::unauthorized("A valid credential is required")
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The SHA-256 of an API key, in hex. `None` if it is not of the form `eliza_<64 hex digits>`.
fn key_hash(key: &str) -> Option<String> {
    let digits = key.strip_prefix("eliza_")?;
    let is_well_formed =
        digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_well_formed.then(|| hex::encode(Sha256::digest(key)))
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
        .find(|(cookie, _)| *cookie == name)
        .map(|(_, value)| value)
}
