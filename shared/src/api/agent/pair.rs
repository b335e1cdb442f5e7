//! `POST /api/auth/pair`: a browser at an agent's own address exchanges a pairing token for the agent's key.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::parameters::ORIGIN;
use crate::api::problem::Problem;
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{Succeeded, Text};
use crate::api::{body, response};
use crate::app::agent::pairing::pairing_redeem;
use crate::db::Database;
use crate::encryption::EncryptionKeys;

pub const ROUTE: Route = Route {
    description: "The agent's own page calls this route. A token works once, within one minute, and only from the \
                  origin it was created for.",
    caller: CallerKind::Anybody,
    parameters: &[ORIGIN],
    body: Some(RequestBody::required::<PairingRequest>(
        r#"{"token": "q0Xc7m1uJ2sVb8nYt5rKd3fHw6zLp9aE4gQiTjUoNyM"}"#,
    )),
    responses: &[ResponseKind::json::<Paired>(200, "The agent's key.")],
    refusals: &[401, 503],
    ..Route::post(
        "agent-pair",
        "/api/auth/pair",
        Tag::Agents,
        "Exchange a pairing token for the agent's key",
    )
};

const MAX_TOKEN_CHARS: usize = 200;

#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct PairingRequest {
    #[schemars(with = "Text", extend("minLength" = 1, "maxLength" = MAX_TOKEN_CHARS))]
    token: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Paired {
    success: Succeeded,
    message: &'static str,
    #[schemars(length(min = 1))]
    api_key: String,
    agent_name: Option<String>,
}

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    /// Decrypt the agent's key.
    pub keys: EncryptionKeys,
}

/// # Errors
/// 400, 401 if the token is unknown, used, expired or for another origin, 415, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let mut fields = body::object(&request)?;
    let is_short = |text: &str| (1..=MAX_TOKEN_CHARS).contains(&text.chars().count());
    let token = fields.text("token", "must be 1 to 200 characters", is_short);
    fields.finish()?;
    let header = request.headers().get("origin");
    let origin = header
        .and_then(|origin| origin.to_str().ok())
        .unwrap_or_default();
    let token = token.unwrap_or_default();
    let paired = pairing_redeem(&deps.pool, &deps.keys, &token, origin).await?;
    let paired = paired.and_then(|paired| Some((paired.api_token?, paired.agent_name)));
    let (api_key, agent_name) =
        paired.ok_or_else(|| Problem::unauthorized("This pairing token cannot be used"))?;
    let paired = Paired {
        success: Succeeded,
        message: "Paired",
        api_key,
        agent_name,
    };
    response::with_status(200, &paired)
}
