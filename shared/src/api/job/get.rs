//! `GET /api/v1/jobs/{jobId}`.

use chrono::NaiveDateTime;
use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::api::auth::Auth;
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{json, path};
use crate::db::jobs::queue::{self, job_find};
use crate::domain::job::JobKind;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    id: Uuid,
    r#type: JobKind,
    status: String,
    result: Option<Value>,
    error: Option<String>,
    attempts: i32,
    /// None = it is tried until it succeeds.
    max_attempts: Option<i32>,
    estimated_completion_at: Option<Date>,
    scheduled_for: Date,
    started_at: Option<Date>,
    completed_at: Option<Date>,
    created_at: Date,
    updated_at: Date,
    steps: Value,
}

impl Job {
    fn new(kind: JobKind, job: queue::Job) -> Self {
        let date = |at: NaiveDateTime| Date(at.and_utc());
        Self {
            id: job.id,
            r#type: kind,
            status: job.status,
            result: job.result,
            error: job.error,
            attempts: job.attempts,
            max_attempts: kind.max_attempts(),
            estimated_completion_at: job.estimated_completion_at.map(date),
            scheduled_for: date(job.scheduled_for),
            started_at: job.started_at.map(date),
            completed_at: job.completed_at.map(date),
            created_at: date(job.created_at),
            updated_at: date(job.updated_at),
            steps: job.steps.unwrap_or_else(|| json!([])),
        }
    }
}

/// Answers what has become of a job.
///
/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let job_id = path::uuid(&request, "jobId")?;
    let mut conn = deps.pool.acquire().await?;
    let job = job_find(&mut conn, caller.organization_id, job_id).await?;
    let job = job.and_then(|job| Some((JobKind::parse(&job.kind)?, job)));
    let (kind, job) = job.ok_or_else(|| Problem::not_found("Job not found"))?;
    let polling = match job.status.as_str() {
        "pending" | "in_progress" => json!({"intervalMs": 5_000, "shouldContinue": true}),
        _ => json!({"shouldContinue": false}),
    };
    json::ok(&json!({"success": true, "data": Job::new(kind, job), "polling": polling}))
}
