//! How a response names the job that finishes a request.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::job::view::NEW_JOB_INTERVAL_MS;
use crate::api::schema::Succeeded;
use crate::domain::ids::JobId;

/// A usual start takes this long.
const EXPECTED_DURATION_MS: u32 = 90_000;

/// Where and how often a client may ask for a job.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Polling {
    #[schemars(regex(
        pattern = "^/api/v1/jobs/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    ))]
    endpoint: String,
    /// Until the job itself says otherwise.
    #[schemars(extend("const" = NEW_JOB_INTERVAL_MS))]
    interval_ms: u32,
    #[schemars(extend("const" = EXPECTED_DURATION_MS))]
    expected_duration_ms: u32,
}

impl Polling {
    pub(super) fn of(job_id: JobId) -> Self {
        Self {
            endpoint: format!("/api/v1/jobs/{job_id}"),
            interval_ms: NEW_JOB_INTERVAL_MS,
            expected_duration_ms: EXPECTED_DURATION_MS,
        }
    }
}

/// A job will do it after the response.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Pending<T> {
    success: Succeeded,
    message: &'static str,
    data: T,
    polling: Polling,
}

impl<T> Pending<T> {
    pub(super) fn new(message: &'static str, data: T, job_id: JobId) -> Self {
        Self {
            success: Succeeded,
            message,
            data,
            polling: Polling::of(job_id),
        }
    }
}
