//! The sweep, once a minute. Owns: that nothing is forgotten: what the outbox holds is published,
//! what is stale is recovered, what should be stopped has a job, and every due job is told of. It runs
//! no job itself and takes no input; run twice it does nothing twice.

use sqlx::PgPool;
use tracing::warn;

use super::job_run::give_up_try;
use super::publish;
use crate::db;
use crate::db::jobs::Stop;
use crate::domain::job::{STALE, STALE_AFTER};
use crate::events::Publisher;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Events published.
    pub published: usize,
    /// Events that `EventBridge` did not take; they are kept.
    pub kept: usize,
    /// Jobs whose worker had stopped.
    pub recovered: usize,
    /// Starts that no job worked on any more.
    pub orphaned: u64,
    /// Stop jobs made for suspended agents without one.
    pub stops: usize,
    /// Due jobs that were told of.
    pub told: usize,
    /// Due jobs that could not be told of.
    pub untold: usize,
    /// Idempotency keys forgotten.
    pub forgotten: u64,
}

/// Sweeps. Before an existing deployment is adopted only events are published and keys forgotten:
/// its older worker may still be at work.
///
/// # Errors
/// Database errors; what was done before stays.
pub async fn job_sweep(pool: &PgPool, publisher: &Publisher) -> sqlx::Result<Swept> {
    let mut swept = Swept::default();
    let mut conn = pool.acquire().await?;
    swept.forgotten = db::idempotency::keys_forget(&mut conn).await?;
    let (_, adoption_required) = db::clock::readiness(&mut conn).await?;
    drop(conn);
    if adoption_required {
        warn!("jobs wait: this deployment is not adopted yet");
    } else {
        swept.recovered = recover(pool).await?;
        (swept.orphaned, swept.stops) = neglected(pool).await?;
        (swept.told, swept.untold) = tell(pool, publisher).await?;
    }
    (swept.published, swept.kept) = publish::outbox(pool, publisher).await?;
    Ok(swept)
}

async fn recover(pool: &PgPool) -> sqlx::Result<usize> {
    let mut conn = pool.acquire().await?;
    let now = db::clock::billing_clock(&mut conn).await?;
    let stale = db::job_work::jobs_stale(&mut conn, now - STALE_AFTER).await?;
    drop(conn);
    for job in &stale {
        warn!(job.id = %job.id, job.kind = job.kind.as_str(), "a job's worker has stopped");
        give_up_try(pool, job, STALE, true, &[]).await?;
    }
    Ok(stale.len())
}

async fn neglected(pool: &PgPool) -> sqlx::Result<(u64, usize)> {
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let orphaned =
        db::agents::agents_end_orphaned_starts(&mut tx, now - STALE_AFTER, STALE, now).await?;
    let idle = db::agents::agents_suspended_idle(&mut tx).await?;
    let stops: Vec<Stop> = idle
        .into_iter()
        .filter(|agent| agent.expects_container)
        .map(|agent| Stop {
            organization_id: agent.organization_id,
            user_id: agent.user_id,
            agent_id: agent.agent_id,
            agent_name: agent.name,
        })
        .collect();
    if !stops.is_empty() {
        db::jobs::stops_enqueue(&mut tx, &stops, now).await?;
    }
    tx.commit().await?;
    Ok((orphaned, stops.len()))
}

async fn tell(pool: &PgPool, publisher: &Publisher) -> sqlx::Result<(usize, usize)> {
    let mut conn = pool.acquire().await?;
    let now = db::clock::billing_clock(&mut conn).await?;
    let due = db::job_work::jobs_due(&mut conn, now).await?;
    drop(conn);
    let told = publish::jobs_due(publisher, &due).await;
    Ok((told, due.len() - told))
}
