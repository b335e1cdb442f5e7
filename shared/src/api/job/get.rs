//! `GET /api/v1/jobs/{jobId}`: the state of a job.

use chrono::NaiveDateTime;
use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::{path, response};
use crate::db::jobs::queue::{self, job_find};
use crate::domain::ids::JobId;
use crate::domain::job::JobKind;
use crate::domain::timestamp::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobJson {
    id: JobId,
    r#type: JobKind,
    status: String,
    result: Option<Value>,
    error: Option<String>,
    attempts: i32,
    /// `None` if the job is tried until it succeeds.
    max_attempts: Option<i32>,
    estimated_completion_at: Option<Timestamp>,
    scheduled_for: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    steps: Value,
}

impl JobJson {
    fn new(kind: JobKind, job: queue::JobRecord) -> Self {
        let timestamp = |at: NaiveDateTime| Timestamp(at.and_utc());
        Self {
            id: job.id,
            r#type: kind,
            status: job.status,
            result: job.result,
            error: job.error,
            attempts: job.attempts,
            max_attempts: kind.max_attempts(),
            estimated_completion_at: job.estimated_completion_at.map(timestamp),
            scheduled_for: timestamp(job.scheduled_for),
            started_at: job.started_at.map(timestamp),
            completed_at: job.completed_at.map(timestamp),
            created_at: timestamp(job.created_at),
            updated_at: timestamp(job.updated_at),
            steps: job.steps.unwrap_or_else(|| json!([])),
        }
    }
}

/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let job_id = path::identifier(&request, "jobId")?;
    let mut conn = deps.pool.acquire().await?;
    let job = job_find(&mut conn, caller.organization_id, job_id).await?;
    let job = job.and_then(|job| Some((JobKind::parse(&job.kind)?, job)));
    let (kind, job) = job.ok_or_else(|| Problem::not_found("Job not found"))?;
    let polling = match job.status.as_str() {
        "pending" | "in_progress" => json!({"intervalMs": 5_000, "shouldContinue": true}),
        _ => json!({"shouldContinue": false}),
    };
    response::ok(&json!({"success": true, "data": JobJson::new(kind, job), "polling": polling}))
}
