//! `GET /api/v1/limits`: what the caller's organization may have, and what it has of it.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::DatabaseDeps;
use crate::api::list;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::app::limit::usage::{LimitUsage, limit_usage};
use crate::domain::limits::LimitName;

pub const ROUTE: Route = Route {
    description: "What exceeds a limit is refused with 409 or 429, and the problem names the limit. Only starts above \
                  `runningStarts` are not refused: they wait until another one has ended. Above `openStreams`, requests \
                  that would wait for a job answer at once.",
    responses: &[ResponseKind::json::<Data<Vec<LimitJson>>>(200, "The limits.").with_etag()],
    ..Route::get(
        "limit-list",
        "/api/v1/limits",
        Tag::Agents,
        "List the limits of the organization, and what is used of them",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Limit")]
struct LimitJson {
    limit: LimitName,
    #[schemars(range(min = 0))]
    allowed: i32,
    /// Of a limit per agent: by the agent that uses most of it.
    #[schemars(range(min = 0))]
    used: i64,
}

impl From<LimitUsage> for LimitJson {
    fn from(usage: LimitUsage) -> Self {
        Self {
            limit: usage.limit,
            allowed: usage.allowed,
            used: usage.used,
        }
    }
}

/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let usage = limit_usage(&mut deps.pool.statements(), caller.organization_id).await?;
    let limits: Vec<LimitJson> = usage.into_iter().map(LimitJson::from).collect();
    list::respond(&request, &Data::new(limits))
}
