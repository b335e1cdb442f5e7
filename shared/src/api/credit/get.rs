//! `GET /api/v1/credits/balance`: an organization's credit, and how long it will last.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;

use crate::api::deps::PriceDeps;
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::credit::summary::{CreditSummary, credit_summary};
use crate::domain::ids::AgentId;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreditJson {
    balance: Money,
    owed: Money,
    burn_per_hour: Money,
    hours_left: Option<Money>,
    low_at: Option<Timestamp>,
    empty_at: Option<Timestamp>,
    required_for_next_agent: Money,
    scheduled_shutdowns: Vec<ShutdownJson>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShutdownJson {
    agent_id: AgentId,
    agent_name: Option<String>,
    scheduled_shutdown_at: Timestamp,
}

impl From<CreditSummary> for CreditJson {
    fn from(summary: CreditSummary) -> Self {
        let forecast = summary.forecast;
        let shutdowns = summary
            .scheduled_shutdowns
            .into_iter()
            .map(|shutdown| ShutdownJson {
                agent_id: shutdown.agent_id,
                agent_name: shutdown.agent_name,
                scheduled_shutdown_at: Timestamp(shutdown.at),
            });
        Self {
            balance: summary.balance,
            owed: forecast.owed,
            burn_per_hour: forecast.burn_per_hour,
            hours_left: forecast.hours_left.map(response::number),
            low_at: forecast.low_at.map(Timestamp),
            empty_at: forecast.empty_at.map(Timestamp),
            required_for_next_agent: summary.required_for_next_agent,
            scheduled_shutdowns: shutdowns.collect(),
        }
    }
}

/// The balance also stands at the top level, where older clients read it.
///
/// # Errors
/// 401, 403, 404 if the organization's row holds no valid amount, 503.
pub async fn handle(deps: &PriceDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let summary = credit_summary(&deps.pool, &deps.prices, caller.organization_id).await?;
    let summary = summary.ok_or_else(|| Problem::not_found("Organization not found"))?;
    let data = CreditJson::from(summary);
    response::ok(&json!({"success": true, "balance": data.balance, "data": data}))
}
