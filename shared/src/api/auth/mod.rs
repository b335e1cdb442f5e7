//! Who is calling. Owns: reading credentials, looking up their holder in the database on every request, and refusing
//! callers whose role or permissions do not suffice. Does not own: the rule that says so (`domain::access`).

mod exhausted;
mod jwt;
mod session;

use std::time::Instant;

use chrono::{DateTime, Timelike, Utc};
use lambda_http::Request;
use lambda_http::http::{HeaderMap, Method};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{field, warn};

use super::problem::Problem;
use super::route::CallerKind;
use crate::db;
use crate::db::identity::principals::{
    Principal, api_key_touch, principal_by_key_hash, principal_by_privy_id, principal_by_session,
    session_end,
};
use crate::db::{Connection, Database};
use crate::domain::access::{self, Action, CredentialKind, Permission, Permissions, Role};
use crate::domain::ids::{AgentId, AgentRef, ApiKeyId, OrganizationId, UserId};
use crate::domain::limits::{DEFAULT_REQUESTS_PER_MINUTE, REQUESTS};
use crate::domain::redacted::debug_without_secrets;
pub use exhausted::ExhaustedCredentials;
pub use jwt::{Privy, PrivyKey};
pub use session::{Session, SessionSecret};

/// Of each name, at most this many cookies are tried.
const MAX_COOKIES: usize = 4;

/// Recognizes callers.
#[derive(Debug, Default)]
pub struct Auth {
    /// `None` if tokens of the identity provider are not accepted.
    pub privy: Option<Privy>,
    /// `None` if there are no sessions.
    pub session: Option<SessionSecret>,
    /// The origins that browsers may call from.
    pub origins: Vec<String>,
    pub exhausted: ExhaustedCredentials,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: UserId,
    /// Every query on tenant data is limited to this organization.
    pub organization_id: OrganizationId,
    pub role: Role,
    /// Those of the API key; all for a caller without one.
    pub permissions: Permissions,
    /// Only if the credential may be used for the routes of super admins, too.
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
    pub credential: CredentialKind,
    /// The key, or the key that the session began with. `None` for a token.
    pub key_id: Option<ApiKeyId>,
    /// `None` for an API key, which is valid until it is revoked or expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// The time of billing's clock.
    pub now: DateTime<Utc>,
}

/// A caller who has just got a session.
#[derive(Clone)]
pub struct SignedIn {
    pub authenticated: Authenticated,
    /// The `Set-Cookie` header.
    pub cookie: String,
}

debug_without_secrets!(SignedIn: authenticated);

enum Credential {
    /// SHA-256 of an API key, in hex.
    Key(String),
    Token(jwt::Claims),
    Session(session::Claims),
}

impl Auth {
    /// Authenticates the caller of a route and adds its id to the request's log line. A credential in a header is the
    /// only one that counts, `X-API-Key` before `Authorization`. Without one, cookies are tried until one is valid: the
    /// provider's, then our own.
    ///
    /// # Errors
    /// 401 without a valid credential; 403 if user or organization is inactive, if the caller may not call routes of
    /// this kind, or if a request that changes something comes by cookie from a foreign origin; 429 if the credential
    /// was used too often; 503 if the database cannot be reached.
    pub async fn authenticate(
        &self,
        pool: &Database,
        request: &Request,
        kind: CallerKind,
    ) -> Result<Authenticated, Problem> {
        let authenticated = self.identify(pool, request).await?;
        check_access(&authenticated.caller, kind)?;
        Ok(authenticated)
    }

    /// [`Self::authenticate`], for those who need not know more than who is calling.
    ///
    /// # Errors
    /// The same.
    pub async fn caller(
        &self,
        pool: &Database,
        request: &Request,
        kind: CallerKind,
    ) -> Result<Caller, Problem> {
        Ok(self.authenticate(pool, request, kind).await?.caller)
    }

    /// Authenticates a caller who must be a super admin.
    ///
    /// # Errors
    /// 401 without a valid credential, 403 for any other caller.
    pub async fn super_admin(&self, pool: &Database, request: &Request) -> Result<Caller, Problem> {
        self.caller(pool, request, CallerKind::SuperAdmin).await
    }

    async fn identify(&self, pool: &Database, request: &Request) -> Result<Authenticated, Problem> {
        let headers = request.headers();
        let mut conn = pool.statements();
        if let Some(credential) = self.header_credential(headers).await? {
            return self.look_up(&mut conn, &credential).await;
        }
        let candidates = cookie_candidates(headers);
        if !candidates.is_empty() && !is_read(request.method()) {
            self.check_origin(request)?;
        }
        let mut refusal = unauthorized();
        for candidate in candidates {
            let tried = match self.cookie_credential(&candidate).await {
                Ok(credential) => self.look_up(&mut conn, &credential).await,
                Err(problem) => Err(problem),
            };
            match tried {
                Ok(authenticated) => return Ok(authenticated),
                // A refusal that says more than that a cookie is not valid is kept.
                Err(problem) if problem.status() != 401 => refusal = problem,
                Err(_) => {}
            }
        }
        Err(refusal)
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
        check_rate(&principal)?;
        let caller = caller_of(&principal)?;
        let key = principal.key.as_ref().ok_or_else(unauthorized)?;
        let session = secret.begin(key, principal.now)?;
        Ok(SignedIn {
            authenticated: Authenticated {
                caller,
                credential: CredentialKind::Session,
                key_id: Some(key.id),
                expires_at: Some(session.expires_at),
                now: principal.now,
            },
            cookie: session.cookie,
        })
    }

    /// Ends the sessions of the request's cookies everywhere. Does nothing without such a cookie.
    ///
    /// # Errors
    /// 503 if the database cannot be reached: then the sessions go on.
    pub async fn end_session(&self, pool: &Database, request: &Request) -> Result<(), Problem> {
        let Some(secret) = &self.session else {
            return Ok(());
        };
        let mut conn = pool.statements();
        for token in cookies(request.headers(), session::COOKIE) {
            if let Some(session) = secret.verify(token).and_then(|claims| claims.session()) {
                session_end(&mut conn, session.id, session.expires_at).await?;
            }
        }
        Ok(())
    }

    /// Reads what a credential stands for, and refuses those that may not be used now.
    async fn look_up(
        &self,
        conn: &mut Connection,
        credential: &Credential,
    ) -> Result<Authenticated, Problem> {
        let identity = credential.identity();
        if let Some(refusal) = self.exhausted.refusal(&identity, Instant::now()) {
            return Err(refusal);
        }
        let principal = find(conn, credential).await?.ok_or_else(unauthorized)?;
        if let Err(refusal) = check_rate(&principal) {
            self.exhausted.remember(identity, &refusal, Instant::now());
            return Err(refusal);
        }
        let caller = caller_of(&principal)?;
        tracing::Span::current().record("caller", field::display(principal.user_id));
        touch(conn, &principal).await;
        Ok(Authenticated {
            caller,
            credential: credential.kind(),
            key_id: principal.key.as_ref().map(|key| key.id),
            expires_at: credential.expires_at(),
            now: principal.now,
        })
    }

    async fn header_credential(&self, headers: &HeaderMap) -> Result<Option<Credential>, Problem> {
        if headers.contains_key("x-api-key") {
            let key = text(headers, "x-api-key").unwrap_or_default();
            let hash = key_hash(key.trim()).ok_or_else(unauthorized)?;
            return Ok(Some(Credential::Key(hash)));
        }
        if !headers.contains_key("authorization") {
            return Ok(None);
        }
        let token = bearer(headers).ok_or_else(unauthorized)?;
        if let Some(hash) = key_hash(token) {
            return Ok(Some(Credential::Key(hash)));
        }
        Ok(Some(Credential::Token(self.verify_token(token).await?)))
    }

    async fn cookie_credential(&self, cookie: &Cookie<'_>) -> Result<Credential, Problem> {
        match cookie {
            Cookie::Privy(token) => Ok(Credential::Token(self.verify_token(token).await?)),
            Cookie::Session(token) => {
                let secret = self.session.as_ref().ok_or_else(unauthorized)?;
                let claims = secret.verify(token).ok_or_else(unauthorized)?;
                Ok(Credential::Session(claims))
            }
        }
    }

    async fn verify_token(&self, token: &str) -> Result<jwt::Claims, Problem> {
        let privy = self.privy.as_ref().ok_or_else(unauthorized)?;
        privy.verify(token).await?.ok_or_else(unauthorized)
    }
}

impl Credential {
    fn kind(&self) -> CredentialKind {
        match self {
            Self::Key(_) => CredentialKind::Key,
            Self::Token(_) => CredentialKind::Token,
            Self::Session(_) => CredentialKind::Session,
        }
    }

    /// What tells it from other credentials.
    fn identity(&self) -> String {
        match self {
            Self::Key(hash) => format!("key {hash}"),
            Self::Token(claims) => format!("token {}", claims.subject()),
            Self::Session(claims) => {
                format!("session {:?}", claims.session().map(|session| session.id))
            }
        }
    }

    fn expires_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Key(_) => None,
            Self::Token(claims) => claims.expires_at(),
            Self::Session(claims) => claims.expires_at(),
        }
    }
}

/// # Errors
/// 429.
fn check_rate(principal: &Principal) -> Result<(), Problem> {
    let own = principal.key.as_ref().map(|key| key.rate_limit);
    let max = own.unwrap_or(DEFAULT_REQUESTS_PER_MINUTE);
    if principal.requests > max {
        let error = format!("The limit {REQUESTS} of {max} is reached; please try again later");
        let seconds = 60 - principal.now.second();
        // Requests above the limit are not counted.
        let problem = Problem::too_many_requests(seconds, error);
        return Err(problem.with_limit(REQUESTS, i64::from(max), max));
    }
    Ok(())
}

/// # Errors
/// 403 if user or organization is inactive.
fn caller_of(principal: &Principal) -> Result<Caller, Problem> {
    let organization_id = principal.organization_id.filter(|_| principal.active);
    let organization_id =
        organization_id.ok_or_else(|| Problem::forbidden("This account is not active"))?;
    let permissions = match &principal.key {
        Some(key) => key.permissions.clone(),
        None => Permissions::all(),
    };
    Ok(Caller {
        user_id: principal.user_id,
        organization_id,
        role: principal.role,
        is_super_admin: principal.admin_role.as_deref() == Some("super_admin")
            && permissions.contains(Permission::Admin),
        permissions,
    })
}

/// # Errors
/// 403.
fn check_access(caller: &Caller, kind: CallerKind) -> Result<(), Problem> {
    let action = match kind {
        CallerKind::Reader => Action::Read,
        CallerKind::AgentManager => Action::ManageAgents,
        CallerKind::AgentOwner => Action::DeleteAgents,
        CallerKind::Owner => Action::ChangeSettings,
        CallerKind::SuperAdmin if caller.is_super_admin => return Ok(()),
        CallerKind::SuperAdmin => return Err(Problem::forbidden("Only operators may do this")),
        CallerKind::Browser | CallerKind::Scheduler | CallerKind::Anybody => return Ok(()),
    };
    access::check(caller.role, &caller.permissions, action)
        .map_err(|denied| Problem::forbidden(&denied.to_string()))
}

/// Reads what a credential stands for. `None` if the credential is not valid now.
async fn find(conn: &mut Connection, credential: &Credential) -> sqlx::Result<Option<Principal>> {
    let valid_key = |principal: &Principal| principal.key.as_ref().is_some_and(|key| key.valid);
    Ok(match credential {
        Credential::Key(hash) => {
            let principal = principal_by_key_hash(conn, hash).await?;
            principal.filter(valid_key)
        }
        Credential::Session(claims) => {
            let Some(session) = claims.session() else {
                return Ok(None);
            };
            let principal = principal_by_session(conn, &session).await?;
            principal.filter(valid_key)
        }
        Credential::Token(claims) => {
            let principal =
                principal_by_privy_id(conn, claims.subject(), claims.valid_until()).await?;
            principal.filter(|principal| claims.is_valid_at(principal.now))
        }
    })
}

/// Records the key's use. A failure does not fail the request.
async fn touch(conn: &mut Connection, principal: &Principal) {
    let Some(key) = principal.key.as_ref().filter(|key| key.touch_due) else {
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
    let is_correct = secret
        .filter(|secret| !secret.is_empty())
        .is_some_and(|secret| {
            Sha256::digest(secret)
                .ct_eq(&Sha256::digest(presented)[..])
                .into()
        });
    if is_correct {
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

enum Cookie<'a> {
    /// The identity provider's.
    Privy(&'a str),
    Session(&'a str),
}

/// The cookies that may be credentials, in the order in which they are tried. A browser sends several of one name if
/// they were set for different paths or domains.
fn cookie_candidates(headers: &HeaderMap) -> Vec<Cookie<'_>> {
    let privy = cookies(headers, "privy-token").map(Cookie::Privy);
    let session = cookies(headers, session::COOKIE).map(Cookie::Session);
    privy
        .take(MAX_COOKIES)
        .chain(session.take(MAX_COOKIES))
        .collect()
}

fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all("cookie").iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(cookie, _)| *cookie == name)
        .map(|(_, value)| value)
}
