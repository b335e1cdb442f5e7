//! `POST /api/auth/pair`: a browser at an agent's own address exchanges a pairing token for the agent's key.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use crate::api::problem::Problem;
use crate::api::{body, response};
use crate::app::agent::pairing::pairing_redeem;

const MAX_TOKEN_CHARS: usize = 200;

/// # Errors
/// 400, 401 if the token is unknown, used, expired or for another origin, 415, 503.
pub async fn handle(pool: &PgPool, request: Request) -> Result<Response<Body>, Problem> {
    let mut fields = body::object(&request)?;
    let is_short = |text: &str| (1..=MAX_TOKEN_CHARS).contains(&text.chars().count());
    let token = fields.text("token", "must be 1 to 200 characters", is_short);
    fields.finish()?;
    let header = request.headers().get("origin");
    let origin = header
        .and_then(|origin| origin.to_str().ok())
        .unwrap_or_default();
    let paired = pairing_redeem(pool, &token.unwrap_or_default(), origin).await?;
    let paired = paired.and_then(|paired| Some((paired.api_token?, paired.agent_name)));
    let (api_key, agent_name) =
        paired.ok_or_else(|| Problem::unauthorized("This pairing token cannot be used"))?;
    response::ok(&json!({
        "success": true, "message": "Paired", "apiKey": api_key, "agentName": agent_name,
    }))
}
