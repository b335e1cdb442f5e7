//! `POST|DELETE /api/v1/session`: begins and ends a session of the dashboard.

use lambda_http::http::{HeaderValue, Method};
use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::auth::Session;
use super::deps::DatabaseDeps;
use super::problem::{Problem, log_internal};
use super::{body, response};
use crate::domain::timestamp::Timestamp;

const MAX_KEY_CHARS: usize = 200;

/// `POST` begins a session for the holder of an API key, `DELETE` ends it. Both need an allowed origin.
///
/// # Errors
/// 400, 401, 403, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.check_origin(&request)?;
    if request.method() == Method::DELETE {
        let response = response::ok(&json!({"success": true}))?;
        return with_cookie(response, &Session::end());
    }
    let mut fields = body::object(&request)?;
    let is_short = |text: &str| (1..=MAX_KEY_CHARS).contains(&text.chars().count());
    let key = fields.text("apiKey", "must be 1 to 200 characters", is_short);
    fields.finish()?;
    let session = deps
        .auth
        .begin_session(&deps.pool, &key.unwrap_or_default())
        .await?;
    let data = json!({
        "userId": session.user_id, "organizationId": session.organization_id,
        "expiresAt": Timestamp(session.expires_at),
    });
    with_cookie(
        response::ok(&json!({"success": true, "data": data}))?,
        &session.cookie,
    )
}

fn with_cookie(mut response: Response<Body>, cookie: &str) -> Result<Response<Body>, Problem> {
    let value = HeaderValue::from_str(cookie).map_err(log_internal("session cookie not set"))?;
    response.headers_mut().insert("set-cookie", value);
    Ok(response)
}
