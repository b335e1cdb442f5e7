//! Waiting for a job within one request. Owns: how long, and when waiting becomes pointless. Does not own: how many
//! requests of an organization may wait (`app::open_stream`).

use std::time::{Duration, Instant};

use crate::app::error::RequestError;
use crate::app::open_stream::OpenStream;
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
/// the job as it is then, or `None` if there is no such job. Does not wait if the organization has as many open streams as
/// it may.
pub async fn job_await(
    pool: &Database,
    organization_id: OrganizationId,
    job_id: JobId,
) -> Result<Option<JobRecord>, RequestError> {
    let waiting = poll(pool, organization_id, job_id, WAIT_TIMEOUT);
    match OpenStream::during(pool, organization_id, WAIT_TIMEOUT, waiting).await {
        Err(RequestError::LimitReached(_)) => {
            poll(pool, organization_id, job_id, Duration::ZERO).await
        }
        waited => waited,
    }
}

async fn poll(
    pool: &Database,
    organization_id: OrganizationId,
    job_id: JobId,
    timeout: Duration,
) -> Result<Option<JobRecord>, RequestError> {
    let deadline = Instant::now() + timeout;
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
