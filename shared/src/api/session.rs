//! `POST|DELETE /api/v1/session`: begins and ends a session of the dashboard.

use lambda_http::http::{HeaderValue, Method};
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::Session;
use super::deps::DatabaseDeps;
use super::parameters::ORIGIN;
use super::problem::{Problem, log_internal};
use super::response::{Data, Done};
use super::route::{CallerKind, RequestBody, ResponseHeader, ResponseKind, Route, Tag};
use super::schema::Text;
use super::{body, response};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::timestamp::Timestamp;

pub const ROUTES: &[Route] = &[
    Route {
        operation: "session-create",
        description: "The session lasts twelve hours, but ends when its key is revoked or expires. The status is 503 \
                      if sessions are not set up.",
        caller: CallerKind::Browser,
        parameters: &[ORIGIN],
        body: Some(RequestBody::required::<SessionRequest>(
            r#"{"apiKey": "eliza_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
        )),
        responses: &[
            ResponseKind::json::<Data<SessionJson>>(200, "The browser is signed in.")
                .with_headers(&[ResponseHeader::SetCookie]),
        ],
        refusals: &[401],
        ..Route::post(
            "session",
            "/api/v1/session",
            Tag::Session,
            "Sign a browser in with an API key",
        )
    },
    Route {
        operation: "session-delete",
        description: "Clears the session cookie, if there is one.",
        caller: CallerKind::Browser,
        parameters: &[ORIGIN],
        responses: &[
            ResponseKind::json::<Done>(200, "The browser is signed out.")
                .with_headers(&[ResponseHeader::SetCookie]),
        ],
        ..Route::delete(
            "session",
            "/api/v1/session",
            Tag::Session,
            "Sign the browser out",
        )
    },
];

const MAX_KEY_CHARS: usize = 200;

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct SessionRequest {
    #[schemars(with = "Text", extend("minLength" = 1, "maxLength" = MAX_KEY_CHARS))]
    api_key: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct SessionJson {
    user_id: UserId,
    organization_id: OrganizationId,
    expires_at: Timestamp,
}

/// `POST` begins a session for the holder of an API key, `DELETE` ends it. Both need an allowed origin.
///
/// # Errors
/// 400, 401, 403, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.check_origin(&request)?;
    if request.method() == Method::DELETE {
        return with_cookie(response::done()?, &Session::end());
    }
    let mut fields = body::object(&request)?;
    let is_short = |text: &str| (1..=MAX_KEY_CHARS).contains(&text.chars().count());
    let key = fields.text("apiKey", "must be 1 to 200 characters", is_short);
    fields.finish()?;
    let session = deps
        .auth
        .begin_session(&deps.pool, &key.unwrap_or_default())
        .await?;
    let data = SessionJson {
        user_id: session.user_id,
        organization_id: session.organization_id,
        expires_at: Timestamp(session.expires_at),
    };
    with_cookie(response::ok(data)?, &session.cookie)
}

fn with_cookie(mut response: Response<Body>, cookie: &str) -> Result<Response<Body>, Problem> {
    let value = HeaderValue::from_str(cookie).map_err(log_internal("session cookie not set"))?;
    response.headers_mut().insert("set-cookie", value);
    Ok(response)
}
