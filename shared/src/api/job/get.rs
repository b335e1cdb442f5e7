//! `GET /api/v1/jobs/{jobId}`: the state of a job.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::view::{JobJson, JobPolling};
use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::schema::Succeeded;
use crate::api::{list, path};
use crate::db::jobs::queue::job_find;

pub const ROUTE: Route = Route {
    responses: &[
        ResponseKind::json::<JobResponse>(200, "The job, and whether to ask again.").with_etag(),
    ],
    refusals: &[400, 404],
    ..Route::get("job-get", "/api/v1/jobs/{jobId}", Tag::Jobs, "Get a job")
};

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct JobResponse {
    success: Succeeded,
    data: JobJson,
    polling: JobPolling,
}

/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let authenticated = deps
        .auth
        .authenticate(&deps.pool, &request, ROUTE.caller)
        .await?;
    let job_id = path::identifier(&request, "jobId")?;
    let mut conn = deps.pool.statements();
    let organization_id = authenticated.caller.organization_id;
    let job = job_find(&mut conn, organization_id, job_id).await?;
    drop(conn);
    let job = job.ok_or_else(|| Problem::not_found("Job not found"))?;
    let body = JobResponse {
        success: Succeeded,
        polling: JobPolling::of(&job, authenticated.now),
        data: JobJson::new(job),
    };
    list::respond(&request, &body)
}
