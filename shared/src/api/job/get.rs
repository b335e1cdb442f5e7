//! `GET /api/v1/jobs/{jobId}`: the state of a job.

use chrono::NaiveDateTime;
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::schema::{Always, Succeeded};
use crate::api::{path, response};
use crate::app::job::run::max_attempts;
use crate::db::jobs::queue::{JobRecord, job_find};
use crate::domain::ids::{AgentId, BackupId, JobId};
use crate::domain::job::{JobKind, JobStatus, StepName, StepStatus};
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    responses: &[ResponseKind::json::<JobResponse>(
        200,
        "The job, and whether to ask again.",
    )],
    refusals: &[400, 404],
    ..Route::get("job-get", "/api/v1/jobs/{jobId}", Tag::Jobs, "Get a job")
};

const POLLING_INTERVAL_MS: u32 = 5_000;

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct JobResponse {
    success: Succeeded,
    data: JobJson,
    polling: JobPolling,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum JobPolling {
    #[serde(rename_all = "camelCase")]
    Active {
        #[schemars(extend("const" = POLLING_INTERVAL_MS))]
        interval_ms: u32,
        should_continue: Always<true>,
    },
    #[serde(rename_all = "camelCase")]
    Ended { should_continue: Always<false> },
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Job")]
struct JobJson {
    id: JobId,
    r#type: JobKind,
    status: JobStatus,
    #[schemars(with = "Option<JobResult>")]
    result: Option<Value>,
    /// Why the last attempt failed.
    error: Option<String>,
    #[schemars(range(min = 0))]
    attempts: i32,
    /// Null if the job is tried until it succeeds.
    #[schemars(range(min = 1))]
    max_attempts: Option<i32>,
    estimated_completion_at: Option<Timestamp>,
    scheduled_for: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[schemars(with = "Vec<JobStep>")]
    steps: Value,
}

/// The result of a job that is completed.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what the worker stores")]
struct JobResult {
    cloud_agent_id: AgentId,
    status: String,
    bridge_url: Option<String>,
    health_url: Option<String>,
    /// The backup that holds the state of the agent that was stopped.
    #[schemars(skip_serializing_if = "Option::is_none", with = "BackupId")]
    backup_id: Option<BackupId>,
    /// What of a deleted agent was left on its host.
    #[schemars(skip_serializing_if = "Option::is_none", with = "String")]
    left: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "describes what the worker stores")]
struct JobStep {
    name: StepName,
    status: StepStatus,
    at: Timestamp,
}

impl JobJson {
    fn new(job: JobRecord) -> Self {
        let timestamp = |at: NaiveDateTime| Timestamp(at.and_utc());
        Self {
            id: job.id,
            r#type: job.kind,
            status: job.status,
            result: job.result,
            error: job.error,
            attempts: job.attempts,
            max_attempts: max_attempts(job.kind),
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
    let mut conn = deps.pool.statements();
    let job = job_find(&mut conn, caller.organization_id, job_id).await?;
    let job = job.ok_or_else(|| Problem::not_found("Job not found"))?;
    let polling = match job.status {
        JobStatus::Pending | JobStatus::InProgress => JobPolling::Active {
            interval_ms: POLLING_INTERVAL_MS,
            should_continue: Always,
        },
        JobStatus::Completed | JobStatus::Failed => JobPolling::Ended {
            should_continue: Always,
        },
    };
    let body = JobResponse {
        success: Succeeded,
        data: JobJson::new(job),
        polling,
    };
    response::with_status(200, &body)
}
