//! `GET /api/v1/credits/balance`: an organization's credit, and how long it will last.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::deps::PriceDeps;
use crate::api::problem::Problem;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::schema::{Number, Succeeded};
use crate::api::{list, response};
use crate::app::credit::summary::{CreditSummary, credit_summary};
use crate::db::agents::billing::SuspendedAgent;
use crate::domain::billing::UnpaidBackups;
use crate::domain::ids::AgentId;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    responses: &[ResponseKind::json::<CreditResponse>(
        200,
        "The credit. The balance is also at the top level, where older clients read it. The `ETag` does not change with \
         `hoursLeft`: `emptyAt` says the same. The last second of the year 9999 stands for all later times.",
    )
    .with_etag()],
    refusals: &[404],
    ..Route::get(
        "credit-get",
        "/api/v1/credits/balance",
        Tag::Credits,
        "Get the credit and its forecast",
    )
};

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct CreditResponse {
    success: Succeeded,
    balance: Money,
    data: CreditJson,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Credit")]
struct CreditJson {
    balance: Money,
    /// Debt that the hourly runs could not charge.
    owed: Money,
    /// The cost per hour of all agents in their present state.
    burn_per_hour: Money,
    /// Hours until the credit is used up. Null if nothing is being charged.
    #[schemars(with = "Option<Number>")]
    hours_left: Option<Money>,
    low_at: Option<Timestamp>,
    empty_at: Option<Timestamp>,
    /// The balance that is needed to start one more agent.
    required_for_next_agent: Money,
    scheduled_shutdowns: Vec<ShutdownJson>,
    /// Suspended agents whose backups nobody pays for.
    unpaid_backups: Vec<UnpaidBackupsJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct ShutdownJson {
    agent_id: AgentId,
    agent_name: Option<String>,
    scheduled_shutdown_at: Timestamp,
}

/// A payment for the agent's oldest debt moves these dates.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct UnpaidBackupsJson {
    agent_id: AgentId,
    agent_name: Option<String>,
    unpaid_since: Timestamp,
    /// When the owner is told that the backups will be deleted.
    notice_at: Timestamp,
    /// When the backups are deleted at the earliest. Nothing is deleted before seven days after the notice was
    /// delivered.
    deletion_at: Timestamp,
}

impl From<(SuspendedAgent, UnpaidBackups)> for UnpaidBackupsJson {
    fn from((agent, unpaid): (SuspendedAgent, UnpaidBackups)) -> Self {
        Self {
            agent_id: agent.agent_id,
            agent_name: agent.agent_name,
            unpaid_since: Timestamp(unpaid.unpaid_since),
            notice_at: Timestamp(unpaid.notice_at),
            deletion_at: Timestamp(unpaid.deletion_at),
        }
    }
}

impl CreditResponse {
    /// What a client must not miss, as JSON; the `ETag` is that of this. Times of the forecast differ by a second from
    /// one response to the next.
    fn version(&self) -> Value {
        let minute = |at: Option<Timestamp>| at.map(|at| (at.0.timestamp() + 30) / 60);
        let credit = &self.data;
        json!([
            credit.balance,
            credit.owed,
            credit.burn_per_hour,
            minute(credit.low_at),
            minute(credit.empty_at),
            credit.required_for_next_agent,
            credit.scheduled_shutdowns,
            credit.unpaid_backups,
        ])
    }
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
            unpaid_backups: summary.unpaid_backups.into_iter().map(Into::into).collect(),
        }
    }
}

/// # Errors
/// 401, 403, 404 if the organization's row holds no valid amount, 503.
pub async fn handle(deps: &PriceDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let summary = credit_summary(&deps.pool, &deps.prices, caller.organization_id).await?;
    let summary = summary.ok_or_else(|| Problem::not_found("Organization not found"))?;
    let data = CreditJson::from(summary);
    let body = CreditResponse {
        success: Succeeded,
        balance: data.balance,
        data,
    };
    list::respond_versioned(&request, &body, &body.version())
}
