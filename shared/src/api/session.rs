//! `POST|DELETE /api/v1/session`: the dashboard's own session.

use lambda_http::http::{HeaderValue, Method};
use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use super::auth::{Auth, Session};
use super::body;
use super::json::{self, Date};
use super::problem::Problem;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
}

const LONGEST_KEY: usize = 200;

/// Begins a session for the holder of an API key, or ends it. Both only from a page of ours.
///
/// # Errors
/// 400, 401, 403, 415, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.origin(&request)?;
    if request.method() == Method::DELETE {
        return with_cookie(json::ok(&json!({"success": true}))?, &Session::end());
    }
    let mut fields = body::object(&request)?;
    let short = |text: &str| (1..=LONGEST_KEY).contains(&text.chars().count());
    let key = fields.text("apiKey", "must be 1 to 200 characters", short);
    fields.finish()?;
    let session = deps
        .auth
        .begin_session(&deps.pool, &key.unwrap_or_default())
        .await?;
    let data = json!({
        "userId": session.user_id, "organizationId": session.organization_id,
        "expiresAt": Date(session.expires_at),
    });
    with_cookie(
        json::ok(&json!({"success": true, "data": data}))?,
        &session.cookie,
    )
}

fn with_cookie(mut response: Response<Body>, cookie: &str) -> Result<Response<Body>, Problem> {
    let value = HeaderValue::from_str(cookie).map_err(|_| Problem::internal())?;
    response.headers_mut().insert("set-cookie", value);
    Ok(response)
}
