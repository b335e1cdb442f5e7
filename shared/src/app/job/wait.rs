//! Waiting for a job within one request. Owns: how long, and when waiting becomes pointless.

use std::time::{Duration, Instant};

use crate::db;
use crate::db::Database;
use crate::db::jobs::queue::JobRecord;
use crate::domain::ids::{JobId, OrganizationId};
use crate::domain::job::JobStatus;

/// Below the 29 seconds after which functions are ended, as `template.yaml` says.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at the job. Short at first, because most jobs are quick.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Waits until a job has ended or its current attempt has failed: the next attempt is too far away to wait for. Returns
/// the job as it is then, or `None` if there is no such job.
pub async fn job_await(
    pool: &Database,
    organization_id: OrganizationId,
    job_id: JobId,
) -> sqlx::Result<Option<JobRecord>> {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let mut pause = FIRST_PAUSE;
    loop {
        let mut conn = pool.statements();
        let job = db::jobs::queue::job_find(&mut conn, organization_id, job_id).await?;
        // A pause must not hold the function's only connection.
        drop(conn);
        let is_active = job.as_ref().is_some_and(is_active);
        if !is_active || Instant::now() + pause >= deadline {
            return Ok(job);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Whether the job's first attempt has not begun yet, or an attempt is running.
fn is_active(job: &JobRecord) -> bool {
    job.status == JobStatus::InProgress || (job.status == JobStatus::Pending && job.attempts == 0)
}
