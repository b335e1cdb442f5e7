//! `POST /api/v1/milady/agents/{agentId}/pairing-token`: makes a token that pairs a browser with the agent. It
//! works once, within a minute.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::view;
use crate::api::auth::Auth;
use crate::api::problem::{Problem, log_internal};
use crate::api::response::Data;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::schema::AgentUrl;
use crate::api::{path, response};
use crate::app::agent::pairing::{TOKEN_LIFETIME, pairing_begin};
use crate::db::Database;
use crate::random::random_bytes;

pub const ROUTE: Route = Route {
    description: "The status is 503 if agents have no public address.",
    responses: &[ResponseKind::json::<Data<PairingToken>>(
        200,
        "The token. It is shown only in this response.",
    )],
    refusals: &[400, 404, 409],
    ..Route::post(
        "agent-pairing-token",
        "/api/v1/milady/agents/{agentId}/pairing-token",
        Tag::Agents,
        "Create a pairing token, which opens the agent's own page once",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct PairingToken {
    #[schemars(length(min = 1, max = 200))]
    token: String,
    /// The URL to open in the browser. It contains the token.
    #[schemars(with = "AgentUrl")]
    redirect_url: String,
    /// Seconds.
    #[schemars(extend("const" = TOKEN_LIFETIME.num_seconds()))]
    expires_in: i64,
}

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    /// Agents are reached at `https://<id>.<domain>`. `None` if they have no public address.
    pub domain: Option<String>,
}

/// # Errors
/// 400, 401, 403, 404, 409, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let domain = deps.domain.as_deref();
    let domain = domain.ok_or_else(|| Problem::not_configured("Agents have no public address"))?;
    let secret: [u8; 32] = random_bytes().map_err(log_internal("pairing token not made"))?;
    let token = URL_SAFE_NO_PAD.encode(secret);
    let origin = view::origin(agent.agent_id, domain);
    pairing_begin(&deps.pool, agent, caller.user_id, &origin, &token).await?;
    response::ok(PairingToken {
        redirect_url: format!("{origin}/pair?token={token}"),
        token,
        expires_in: TOKEN_LIFETIME.num_seconds(),
    })
}
