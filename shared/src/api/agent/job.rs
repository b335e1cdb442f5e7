//! How a response names the job that finishes a request.

use serde_json::{Value, json};

use crate::domain::ids::JobId;

const POLLING_INTERVAL_MS: u32 = 5_000;
/// A usual start takes this long.
const EXPECTED_DURATION_MS: u32 = 90_000;

/// Where and how often a client may ask for a job.
pub(super) fn polling(job_id: JobId) -> Value {
    json!({
        "endpoint": format!("/api/v1/jobs/{job_id}"), "intervalMs": POLLING_INTERVAL_MS,
        "expectedDurationMs": EXPECTED_DURATION_MS,
    })
}
