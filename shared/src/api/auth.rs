//! Who is calling. Owns: reading credentials, and that they are checked against the database at
//! every request. Does not own: what a caller may do with which agent.

use lambda_http::Request;
use lambda_http::http::HeaderMap;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use subtle::ConstantTimeEq;
use tracing::{field, warn};
use uuid::Uuid;

use super::problem::Problem;
use crate::db;

/// An authenticated caller of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: Uuid,
    /// The user's organization: what every query on tenant data is limited to.
    pub organization_id: Uuid,
    /// The user's wallet, lower case, which admin roles go by.
    pub wallet_address: Option<String>,
}

/// Finds out who calls, and names them in the request's log line.
///
/// # Errors
/// 401 without a valid credential, 403 for an inactive user or organization, 503 when the database
/// is away.
pub async fn caller(pool: &PgPool, request: &Request) -> Result<Caller, Problem> {
    let key = api_key(request.headers()).ok_or_else(unauthorized)?;
    let mut conn = pool.acquire().await?;
    let hash = hex::encode(Sha256::digest(key));
    let owner = db::api_keys::key_find(&mut conn, &hash)
        .await?
        .filter(|owner| owner.key_valid);
    let owner = owner.ok_or_else(unauthorized)?;
    let Some(organization_id) = owner.organization_id.filter(|_| owner.owner_active) else {
        return Err(Problem::forbidden("This account is not active"));
    };
    tracing::Span::current().record("caller", field::display(owner.user_id));
    if owner.touch_due {
        let touched = db::api_keys::key_touch(&mut conn, owner.key_id).await;
        if let Err(error) = touched {
            warn!(
                error = db::error_class(&error),
                "the key's last use was not recorded"
            );
        }
    }
    Ok(Caller {
        user_id: owner.user_id,
        organization_id,
        wallet_address: owner.wallet_address,
    })
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

/// `X-API-Key: eliza_<64 hex>` or `Authorization: Bearer eliza_<64 hex>`.
fn api_key(headers: &HeaderMap) -> Option<&str> {
    let header = headers
        .get("x-api-key")
        .and_then(|value| value.to_str().ok());
    let key = header.map(str::trim).or_else(|| bearer(headers))?;
    let digits = key.strip_prefix("eliza_")?;
    (digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(key)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}
