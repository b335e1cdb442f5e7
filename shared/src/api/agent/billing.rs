//! `PATCH /api/v1/admin/agents/{agentId}/billing`: a super admin changes an agent's pricing.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::body::{self, Fields};
use crate::api::deps::DatabaseDeps;
use crate::api::path;
use crate::api::problem::Problem;
use crate::api::response::{self, Data, number};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::Number;
use crate::app::agent::billing::{NewRate, PricingChange, agent_pricing_change};
use crate::db::agents::pricing::AgentPricing;
use crate::domain::agent::BillingStatus;
use crate::domain::ids::AgentId;
use crate::domain::money::Money;

pub const ROUTE: Route = Route {
    description: "An exempt agent is not metered, charged, warned or suspended from now on. What is owed for it stays \
                  owed, and a stop that was accepted goes on.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::required::<AgentBillingRequest>(
        r#"{"exempt": false, "hourlyRate": 0.015}"#,
    )),
    responses: &[ResponseKind::json::<Data<AgentBillingJson>>(
        200,
        "The pricing from now on.",
    )],
    refusals: &[404],
    ..Route::patch(
        "agent-billing",
        "/api/v1/admin/agents/{agentId}/billing",
        Tag::Admin,
        "Change whether and at which rate an agent is billed",
    )
};

/// At least one of the fields.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("anyOf" = one_change()))]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct AgentBillingRequest {
    exempt: Option<bool>,
    /// Dollars per hour while the agent runs, with at most four decimals. Null for the list price.
    #[schemars(extend("minimum" = 0, "maximum" = 100))]
    hourly_rate: Option<Number>,
}

/// That at least one field is there and says something.
fn one_change() -> Value {
    json!([
        {"required": ["exempt"], "properties": {"exempt": {"type": "boolean"}}},
        {"required": ["hourlyRate"]},
    ])
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct AgentBillingJson {
    agent_id: AgentId,
    billing_status: BillingStatus,
    /// The agent's own rate; null if it has the list price.
    hourly_rate: Option<Money>,
}

/// Dollars per hour.
const MAX_RATE: Decimal = Decimal::from_parts(100, 0, 0, false, 0);
/// As many as the column has.
const MAX_RATE_SCALE: u32 = 4;

/// # Errors
/// 400, 401, 403, 404, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let agent_id: AgentId = path::identifier(&request, "agentId")?;
    let change = read(body::object(&request)?)?;
    let AgentPricing {
        billing,
        hourly_rate,
    } = agent_pricing_change(&deps.pool, admin.user_id, agent_id, change).await?;
    response::ok(AgentBillingJson {
        agent_id,
        billing_status: billing,
        hourly_rate: hourly_rate.map(number),
    })
}

fn read(mut fields: Fields) -> Result<PricingChange, Problem> {
    let exempt = fields.optional_flag("exempt");
    let rate = if fields.is_null("hourlyRate") {
        Some(NewRate::ListPrice)
    } else {
        rate(&mut fields).map(NewRate::Own)
    };
    fields.finish()?;
    if exempt.is_none() && rate.is_none() {
        return Err(Problem::field("body", "must have `exempt` or `hourlyRate`"));
    }
    Ok(PricingChange { exempt, rate })
}

fn rate(fields: &mut Fields) -> Option<Decimal> {
    let rate = fields.optional_decimal("hourlyRate")?;
    if rate < Decimal::ZERO || rate > MAX_RATE || rate.normalize().scale() > MAX_RATE_SCALE {
        fields.refuse("hourlyRate", "must be 0 to 100 with at most four decimals");
    }
    Some(rate)
}
