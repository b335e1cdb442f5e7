//! Waiting for a job, within what a request may take. Owns: how long, and when waiting is of no use any
//! more.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use uuid::Uuid;

use crate::db;
use crate::db::jobs::queue::Job;

/// How long a request waits for a job.
const WITHIN: Duration = Duration::from_secs(20);
/// How often it looks: soon at first, for most jobs are quick.
const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_millis(500);

/// Waits until a job has ended, or a try of it has: the next one is too far away. Answers the job as it
/// is then; none if there is no such job.
///
/// # Errors
/// Database errors.
pub async fn job_await(
    pool: &PgPool,
    organization_id: Uuid,
    job_id: Uuid,
) -> sqlx::Result<Option<Job>> {
    let until = Instant::now() + WITHIN;
    let mut pause = FIRST;
    loop {
        let mut conn = pool.acquire().await?;
        let job = db::jobs::queue::job_find(&mut conn, organization_id, job_id).await?;
        drop(conn);
        let goes_on = job.as_ref().is_some_and(|job| {
            job.status == "in_progress" || job.status == "pending" && job.attempts == 0
        });
        if !goes_on || Instant::now() + pause >= until {
            return Ok(job);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST);
    }
}
