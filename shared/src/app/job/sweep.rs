//! The sweep, once a minute. Owns: that nothing is forgotten: what the outbox holds is published,
//! what is stale is recovered, what should be stopped has a job, and every due job is told of. It runs
//! no job itself and takes no input; run twice it does nothing twice.

use sqlx::PgPool;
use tracing::warn;

use crate::app::job::run::give_up_try;
use crate::app::publish;
use crate::db;
use crate::db::jobs::queue::Stop;
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
    /// Stop jobs made for suspended agents, and for those that failed and left a container, without one.
    pub stops: usize,
    /// Due jobs that were told of.
    pub told: usize,
    /// Due jobs that could not be told of.
    pub untold: usize,
    /// Idempotency keys forgotten.
    pub forgotten: u64,
}

/// Sweeps. Before an existing deployment is adopted only events are published and keys forgotten:
/// its older worker may still be at work. A duty that fails stands in no other's way.
///
/// # Errors
/// The first database error, once everything was tried; what was done stays.
pub async fn job_sweep(pool: &PgPool, publisher: &Publisher) -> sqlx::Result<Swept> {
    let mut swept = Swept::default();
    let mut conn = pool.acquire().await?;
    let (_, adoption_required) = db::clock::readiness(&mut conn).await?;
    drop(conn);
    let mut failure = None;
    if adoption_required {
        warn!("jobs wait: this deployment is not adopted yet");
    } else {
        swept.recovered = keep(&mut failure, recover(pool).await);
        (swept.orphaned, swept.stops) = keep(&mut failure, neglected(pool).await);
        (swept.told, swept.untold) = keep(&mut failure, tell(pool, publisher).await);
    }
    (swept.published, swept.kept) = keep(&mut failure, publish::outbox(pool, publisher).await);
    swept.forgotten = keep(&mut failure, forget(pool).await);
    failure.map_or(Ok(swept), Err)
}

/// What a duty did; its error is kept for later.
fn keep<T: Default>(failure: &mut Option<sqlx::Error>, done: sqlx::Result<T>) -> T {
    done.unwrap_or_else(|error| {
        warn!(
            error = db::error_class(&error),
            "a part of the sweep failed"
        );
        failure.get_or_insert(error);
        T::default()
    })
}

async fn forget(pool: &PgPool) -> sqlx::Result<u64> {
    let mut conn = pool.acquire().await?;
    db::requests::idempotency::keys_forget(&mut conn).await
}

async fn recover(pool: &PgPool) -> sqlx::Result<usize> {
    let mut conn = pool.acquire().await?;
    let now = db::clock::billing_clock(&mut conn).await?;
    let stale = db::jobs::work::jobs_stale(&mut conn, now - STALE_AFTER).await?;
    drop(conn);
    let mut recovered = 0;
    let mut failure = None;
    for job in &stale {
        warn!(job.id = %job.id, job.kind = job.kind.as_str(), "a job's worker has stopped");
        match give_up_try(pool, job, STALE, true, &[]).await {
            Ok(_) => recovered += 1,
            // Somebody holds its agent: the next sweep finds it again.
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(recovered), Err)
}

async fn neglected(pool: &PgPool) -> sqlx::Result<(u64, usize)> {
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    // The locks come first, in a statement of their own: the next ones see what was written by whoever
    // held them before.
    let ids = db::agents::billing::agents_neglected_lock(&mut tx, now - STALE_AFTER).await?;
    let orphaned = db::agents::billing::agents_end_orphaned_starts(&mut tx, &ids, STALE, now).await?;
    let idle = db::agents::billing::agents_to_stop(&mut tx, &ids).await?;
    let stops: Vec<Stop> = idle
        .into_iter()
        .filter(|agent| agent.expects_container)
        .map(|agent| Stop {
            organization_id: agent.organization_id,
            user_id: agent.user_id,
            agent_id: agent.agent_id,
            agent_name: agent.name,
            reason: if agent.suspended {
                "billing"
            } else {
                "cleanup"
            },
        })
        .collect();
    if !stops.is_empty() {
        db::jobs::queue::stops_enqueue(&mut tx, &stops, now).await?;
    }
    tx.commit().await?;
    Ok((orphaned, stops.len()))
}

async fn tell(pool: &PgPool, publisher: &Publisher) -> sqlx::Result<(usize, usize)> {
    let mut conn = pool.acquire().await?;
    let now = db::clock::billing_clock(&mut conn).await?;
    let due = db::jobs::work::jobs_due(&mut conn, now).await?;
    drop(conn);
    let told = publish::jobs_due(publisher, &due).await;
    Ok((told, due.len() - told))
}
