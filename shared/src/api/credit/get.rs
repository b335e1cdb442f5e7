//! `GET /api/v1/credits/balance`: credit now, and where it is going.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::api::auth::Auth;
use crate::api::json;
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::app::credit::summary::{CreditSummary, credit_summary};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The price list.
    pub prices: Prices,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credit {
    balance: Money,
    owed: Money,
    burn_per_hour: Money,
    hours_left: Option<Money>,
    low_at: Option<Date>,
    empty_at: Option<Date>,
    required_for_next_agent: Money,
    scheduled_shutdowns: Vec<Shutdown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shutdown {
    agent_id: Uuid,
    agent_name: Option<String>,
    scheduled_shutdown_at: Date,
}

impl From<CreditSummary> for Credit {
    fn from(summary: CreditSummary) -> Self {
        let forecast = summary.forecast;
        let shutdowns = summary
            .scheduled_shutdowns
            .into_iter()
            .map(|shutdown| Shutdown {
                agent_id: shutdown.agent_id,
                agent_name: shutdown.agent_name,
                scheduled_shutdown_at: Date(shutdown.at),
            });
        Self {
            balance: summary.balance,
            owed: forecast.owed,
            burn_per_hour: forecast.burn_per_hour,
            hours_left: forecast.hours_left.map(json::number),
            low_at: forecast.low_at.map(Date),
            empty_at: forecast.empty_at.map(Date),
            required_for_next_agent: summary.required_for_next_agent,
            scheduled_shutdowns: shutdowns.collect(),
        }
    }
}

/// Answers the caller's credit. The balance also stands at the top level, where older clients look.
///
/// # Errors
/// 401, 403, 404 when the organization's row holds no valid amount, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let summary = credit_summary(&deps.pool, &deps.prices, caller.organization_id).await?;
    let summary = summary.ok_or_else(|| Problem::not_found("Organization not found"))?;
    let data = Credit::from(summary);
    json::ok(&json!({"success": true, "balance": data.balance, "data": data}))
}
