//! `GET|POST|DELETE /api/v1/session`: who is calling, and the beginning and the end of a session of the dashboard.

use lambda_http::http::{HeaderValue, Method};
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::{Authenticated, Session};
use super::deps::DatabaseDeps;
use super::parameters::ORIGIN;
use super::problem::{Problem, log_internal};
use super::response::{Data, Done};
use super::route::{CallerKind, RequestBody, ResponseHeader, ResponseKind, Route, Tag};
use super::schema::Text;
use super::{body, response};
use crate::db::identity::organizations::organization_name;
use crate::domain::access::{CredentialKind, Permission, Role};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::timestamp::Timestamp;

pub const ROUTES: &[Route] = &[
    Route {
        operation: "session-get",
        description: "Works with every credential. The status is 401 if there is none, or if it is not valid any more. \
                      `role` and `permissions` together say what the caller may do: each operation names in `x-caller` \
                      whom it serves.",
        responses: &[ResponseKind::json::<Data<SessionJson>>(200, "The caller.")],
        ..Route::get(
            "session",
            "/api/v1/session",
            Tag::Session,
            "See who is calling",
        )
    },
    Route {
        operation: "session-create",
        description: "The session lasts twelve hours, but ends when its key is revoked, rotated or expires. The status is 503 \
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
        description: "The session ends wherever its cookie is used. Does nothing without a session. With 503, the \
                      session goes on.",
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

/// Who is calling.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Session")]
struct SessionJson {
    user_id: UserId,
    organization_id: OrganizationId,
    organization_name: String,
    /// Whether the caller may use the routes for super admins: the user is one, and the credential permits it.
    super_admin: bool,
    /// What the user is in the organization now: `owner` also stands for admins, and for the oldest active user where
    /// nobody else owns it.
    role: Role,
    credential: CredentialKind,
    /// What the credential may be used for: of a key, what the key permits; everything, otherwise.
    permissions: Vec<Permission>,
    /// When the session or the token ends. Null for a caller with an API key.
    expires_at: Option<Timestamp>,
    /// The server's clock, by which every time in a response is meant.
    server_time: Timestamp,
}

/// `POST` begins a session for the holder of an API key, `DELETE` ends it; both need an allowed origin. `GET` says who
/// is calling.
///
/// # Errors
/// 400, 401, 403, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    match *request.method() {
        Method::GET => {
            let authenticated = deps
                .auth
                .authenticate(&deps.pool, &request, CallerKind::Reader)
                .await?;
            response::ok(describe(deps, authenticated).await?)
        }
        Method::DELETE => {
            deps.auth.check_origin(&request)?;
            deps.auth.end_session(&deps.pool, &request).await?;
            with_cookie(response::done()?, &Session::end())
        }
        _ => begin(deps, &request).await,
    }
}

async fn begin(deps: &DatabaseDeps, request: &Request) -> Result<Response<Body>, Problem> {
    deps.auth.check_origin(request)?;
    let mut fields = body::object(request)?;
    let is_short = |text: &str| (1..=MAX_KEY_CHARS).contains(&text.chars().count());
    let key = fields.text("apiKey", "must be 1 to 200 characters", is_short);
    fields.finish()?;
    let key = key.unwrap_or_default();
    let signed_in = deps.auth.begin_session(&deps.pool, &key).await?;
    let data = describe(deps, signed_in.authenticated).await?;
    with_cookie(response::ok(data)?, &signed_in.cookie)
}

async fn describe(
    deps: &DatabaseDeps,
    authenticated: Authenticated,
) -> Result<SessionJson, Problem> {
    let caller = authenticated.caller;
    let mut conn = deps.pool.statements();
    let name = organization_name(&mut conn, caller.organization_id).await?;
    Ok(SessionJson {
        user_id: caller.user_id,
        organization_id: caller.organization_id,
        // The organization was deleted after the caller was authenticated.
        organization_name: name.unwrap_or_default(),
        super_admin: caller.is_super_admin,
        role: caller.role,
        credential: authenticated.credential,
        permissions: caller.permissions.as_slice().to_vec(),
        expires_at: authenticated.expires_at.map(Timestamp),
        server_time: Timestamp(authenticated.now),
    })
}

fn with_cookie(mut response: Response<Body>, cookie: &str) -> Result<Response<Body>, Problem> {
    let value = HeaderValue::from_str(cookie).map_err(log_internal("session cookie not set"))?;
    response.headers_mut().insert("set-cookie", value);
    Ok(response)
}
