//! `POST /api/v1/milady/agents/{agentId}/pairing-token`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use super::view;
use crate::api::auth::Auth;
use crate::api::problem::Problem;
use crate::api::{json, path};
use crate::app::agent::pairing::{LIFETIME, pairing_begin};
use crate::lambda::random_bytes;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The domain that agents are reached below; none = no browser can be sent there.
    pub domain: Option<String>,
}

/// Makes a token with which a browser can be paired with the agent, once, within a minute.
///
/// # Errors
/// 400, 401, 403, 404, 409, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let domain = deps.domain.as_deref();
    let domain = domain.ok_or_else(|| Problem::not_configured("Agents have no public address"))?;
    let bytes: [u8; 32] = random_bytes().map_err(|_| Problem::internal())?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let origin = view::origin(agent_id, domain);
    let owner = (caller.organization_id, caller.user_id);
    pairing_begin(&deps.pool, owner, agent_id, &origin, &token).await?;
    let data = json!({
        "token": token, "redirectUrl": format!("{origin}/pair?token={token}"),
        "expiresIn": LIFETIME.num_seconds(),
    });
    json::ok(&json!({"success": true, "data": data}))
}
