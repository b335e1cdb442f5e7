//! A job in JSON. Owns: its fields, and how soon a client may ask for it again.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::schema::Always;
use crate::db::jobs::queue::JobRecord;
use crate::domain::ids::{AgentId, BackupId, JobId};
use crate::domain::job::{JobKind, JobStatus, StepName, StepStatus};
use crate::domain::timestamp::Timestamp;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Job")]
pub(in crate::api) struct JobJson {
    id: JobId,
    r#type: JobKind,
    status: JobStatus,
    #[schemars(with = "Option<JobResult>")]
    result: Option<Value>,
    /// Why the last attempt failed.
    error: Option<String>,
    #[schemars(range(min = 0))]
    attempts: i32,
    /// Null if the job is tried until it succeeds. Higher if attempts ended before the image was pulled.
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
    /// Where the state of an agent that was started on another host comes from, and what is left on the former one.
    #[schemars(skip_serializing_if = "Option::is_none", with = "String")]
    notice: Option<String>,
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
    /// How far a step is that copies data.
    #[schemars(skip_serializing_if = "Option::is_none", with = "JobStepProgress")]
    progress: Option<JobStepProgress>,
}

#[derive(JsonSchema)]
#[schemars(inline, rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what the worker stores")]
struct JobStepProgress {
    copied_bytes: u64,
    /// Null if the size of the data is not known.
    total_bytes: Option<u64>,
}

impl JobJson {
    pub(in crate::api) fn new(job: JobRecord) -> Self {
        let timestamp = |at: NaiveDateTime| Timestamp(at.and_utc());
        Self {
            id: job.id,
            r#type: job.kind,
            status: job.status,
            result: job.result,
            error: job.error,
            attempts: job.attempts,
            max_attempts: job
                .kind
                .retry()
                .max_attempts()
                .map(|max| max + job.unspent_attempts),
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

/// A new job is asked for often: where images are cached, a start takes seconds, and each step is shown.
pub(in crate::api) const NEW_JOB_INTERVAL_MS: u32 = 1_000;
const INTERVAL_MS: u32 = 5_000;
/// How long a job counts as new.
const NEW_FOR: TimeDelta = TimeDelta::seconds(15);

/// Whether to ask for a job again, and when.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum JobPolling {
    #[serde(rename_all = "camelCase")]
    Active {
        /// 1000 during the first 15 seconds of the job, then 5000.
        #[schemars(range(min = NEW_JOB_INTERVAL_MS, max = INTERVAL_MS))]
        interval_ms: u32,
        should_continue: Always<true>,
    },
    #[serde(rename_all = "camelCase")]
    Ended { should_continue: Always<false> },
}

impl JobPolling {
    pub(super) fn of(job: &JobRecord, now: DateTime<Utc>) -> Self {
        let is_new = now - job.created_at.and_utc() < NEW_FOR;
        match job.status {
            JobStatus::Pending | JobStatus::InProgress => Self::Active {
                interval_ms: if is_new {
                    NEW_JOB_INTERVAL_MS
                } else {
                    INTERVAL_MS
                },
                should_continue: Always,
            },
            JobStatus::Completed | JobStatus::Failed => Self::Ended {
                should_continue: Always,
            },
        }
    }
}
