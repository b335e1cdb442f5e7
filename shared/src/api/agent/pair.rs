//! `POST /api/auth/pair`: a browser at the agent's own address exchanges its token for the agent's key.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use crate::api::problem::Problem;
use crate::api::{body, json};
use crate::app::agent::pairing::pairing_end;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
}

const LONGEST_TOKEN: usize = 200;

/// Uses a token up.
///
/// # Errors
/// 400, 401 for a token that is unknown, used, expired or from another origin, 415, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let mut fields = body::object(&request)?;
    let short = |text: &str| (1..=LONGEST_TOKEN).contains(&text.chars().count());
    let token = fields.text("token", "must be 1 to 200 characters", short);
    fields.finish()?;
    let origin = request.headers().get("origin");
    let origin = origin
        .and_then(|origin| origin.to_str().ok())
        .unwrap_or_default();
    let paired = pairing_end(&deps.pool, &token.unwrap_or_default(), origin).await?;
    let paired = paired.and_then(|paired| Some((paired.api_token?, paired.agent_name)));
    let (api_key, agent_name) =
        paired.ok_or_else(|| Problem::unauthorized("This pairing token cannot be used"))?;
    json::ok(&json!({
        "success": true, "message": "Paired", "apiKey": api_key, "agentName": agent_name,
    }))
}
