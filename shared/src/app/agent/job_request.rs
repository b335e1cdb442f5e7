//! A request whose work a job does. Owns: that the job is published as soon as it is committed, and that the request
//! waits for it as long as a request may. Does not own: how long that is (`app::job::wait`).

use crate::app::error::RequestError;
use crate::app::job::wait::job_await;
use crate::app::publish::publish_due_jobs;
use crate::db::Database;
use crate::db::jobs::queue::JobRecord;
use crate::domain::ids::OrganizationId;
use crate::domain::job::{DueJob, JobStatus};
use crate::events::Publisher;

/// Publishes a committed job and waits for it. Returns the job if it completed. `None` if it did not complete in
/// time; also `None`, without waiting, if the event could not be published, because no worker starts before the
/// next sweep.
pub(super) async fn publish_and_wait(
    pool: &Database,
    publisher: &Publisher,
    organization_id: OrganizationId,
    due: DueJob,
) -> Result<Option<JobRecord>, RequestError> {
    if publish_due_jobs(publisher, &[due]).await != [true] {
        return Ok(None);
    }
    let job = job_await(pool, organization_id, due.id).await?;
    Ok(job.filter(|job| job.status == JobStatus::Completed))
}
