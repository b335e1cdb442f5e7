//! The sweep, once a minute. Owns: that nothing is forgotten: the outbox is published, stale jobs are recovered, agents
//! that should be stopped get a job, and due jobs are announced, lane by lane. It takes no input and runs no job itself. Two runs
//! at the same time may publish an event twice, which does no harm.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{error, info, warn};

use crate::app::job::run::webhook::webhooks_give_up;
use crate::app::job::run::{FailedAttempt, finish_failed_attempt};
use crate::app::publish::{
    publish_due_jobs, publish_due_tombstones, publish_outbox, publish_product_events,
};
use crate::db;
use crate::db::Database;
use crate::db::agents::neglected::NeglectedAgent;
use crate::db::jobs::lanes::Announce;
use crate::db::jobs::queue::StopJob;
use crate::domain::agent::StopReason;
use crate::domain::ids::{AgentId, JobId};
use crate::domain::job::{DueJob, JOB_STALE_AFTER, JobClass, STALE_JOB_ERROR};
use crate::domain::lane::Backlog;
use crate::events::Publisher;

/// What a deleted agent left is usually removed within a minute. After this time an operator has to look.
const TOMBSTONE_OLD_AFTER: TimeDelta = TimeDelta::hours(1);
/// How long a sweep deletes expired idempotency keys. It must delete more of them than clients add in a minute, and leave
/// time for the other duties of its minute.
const EXPIRY_TIME: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Events of the outbox.
    pub published: usize,
    /// Events of the outbox that were not accepted. They stay there for the next sweep.
    pub unpublished: usize,
    /// Batches of product events that were accepted.
    pub published_batches: usize,
    /// Batches of product events that were not. They stay for the next sweep.
    pub unpublished_batches: usize,
    /// Jobs whose worker had stopped.
    pub recovered_jobs: usize,
    /// Agents that were being started and had no start job any more.
    pub ended_starts: u64,
    /// Stop jobs for agents that had none: suspended ones, and ones whose failed start left a container.
    pub enqueued_stops: usize,
    /// Due jobs, and ended jobs whose webhook is due, whose event was accepted.
    pub announced_jobs: usize,
    /// Those whose event was not accepted.
    pub unannounced_jobs: usize,
    /// Due tombstones whose event was accepted.
    pub announced_tombstones: usize,
    /// Due tombstones whose event was not accepted.
    pub unannounced_tombstones: usize,
    pub deleted_idempotency_keys: u64,
    /// The jobs after all this. `None` if they were not counted.
    pub backlog: Option<MeasuredBacklog>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasuredBacklog {
    pub backlog: Backlog,
    /// How many of the connections to the database that the deployment allows are open, in percent. `None` without a
    /// limit.
    pub connections_percent: Option<i32>,
    pub at: DateTime<Utc>,
}

/// Does all that is due. Until an existing deployment is adopted, jobs are left alone, because its older worker may
/// still run. A duty that fails does not keep the others from being done.
///
/// # Errors
/// The first error of the database, after every duty was attempted. What was done stays done.
pub async fn job_sweep(pool: &Database, publisher: &Publisher) -> sqlx::Result<SweepReport> {
    let mut conn = pool.statements();
    let readiness = db::clock::readiness(&mut conn).await?;
    drop(conn);
    let mut report = SweepReport::default();
    let mut duties = Duties::default();
    if readiness.adoption_required {
        warn!("this deployment is not adopted yet; no job is run until it is");
    } else {
        report.recovered_jobs =
            duties.note_error("recovering stale jobs", recover_stale_jobs(pool).await);
        let neglected = duties.note_error(
            "ending neglected starts and enqueueing missing stops",
            handle_neglected(pool).await,
        );
        report.ended_starts = neglected.ended_starts;
        report.enqueued_stops = neglected.enqueued_stops;
        let announced = duties.note_error(
            "announcing due jobs",
            announce_due_jobs(pool, publisher).await,
        );
        duties.note_error("giving up webhooks of jobs", webhooks_give_up(pool).await);
        let webhooks = duties.note_error(
            "announcing due webhooks of jobs",
            announce_due_webhooks(pool, publisher).await,
        );
        report.announced_jobs = announced.accepted + webhooks.accepted;
        report.unannounced_jobs = announced.rejected + webhooks.rejected;
        let announced = duties.note_error(
            "announcing due tombstones",
            announce_due_tombstones(pool, publisher).await,
        );
        report.announced_tombstones = announced.accepted;
        report.unannounced_tombstones = announced.rejected;
    }
    let outbox = duties.note_error(
        "publishing the outbox",
        publish_outbox(pool, publisher).await,
    );
    report.published = outbox.published;
    report.unpublished = outbox.unpublished;
    // After the outbox: an owner's warning does not wait for them.
    let batches = duties.note_error(
        "publishing product events",
        publish_product_events(pool, publisher).await,
    );
    report.published_batches = batches.published;
    report.unpublished_batches = batches.unpublished;
    report.deleted_idempotency_keys = duties.note_error(
        "deleting idempotency keys",
        delete_idempotency_keys(pool).await,
    );
    let backlog = measure_backlog(pool).await.map(Some);
    report.backlog = duties.note_error("counting the jobs", backlog);
    duties.first_error.map_or(Ok(report), Err)
}

/// Keeps the first error while the other duties are done.
#[derive(Default)]
struct Duties {
    first_error: Option<sqlx::Error>,
}

impl Duties {
    /// The result of a duty; if it failed, its default.
    fn note_error<T: Default>(&mut self, duty: &'static str, result: sqlx::Result<T>) -> T {
        result.unwrap_or_else(|error| {
            warn!(
                duty,
                error = db::error_class(&error),
                "{duty} failed; the next sweep repeats it"
            );
            self.first_error.get_or_insert(error);
            T::default()
        })
    }
}

async fn recover_stale_jobs(pool: &Database) -> sqlx::Result<usize> {
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let stale_before = now - JOB_STALE_AFTER;
    let stale = db::jobs::worker::jobs_stale_of_any_organization(&mut conn, stale_before).await?;
    drop(conn);
    let attempt = FailedAttempt {
        error: STALE_JOB_ERROR,
        is_retryable: true,
        is_out_of_time: false,
        is_unspent: false,
        steps: &[],
    };
    let mut recovered = 0;
    let mut last_error = None;
    for job in &stale {
        match finish_failed_attempt(pool, job, &attempt).await {
            Ok(outcome) => {
                recovered += 1;
                info!(
                    job.id = %job.id, job.kind = job.kind.as_str(), attempt = job.attempt, ?outcome,
                    "the worker of job {} stopped before the job ended", job.id
                );
            }
            // For example, somebody holds the row of the job's agent. The next sweep finds the job again.
            Err(error) => last_error = Some(error),
        }
    }
    last_error.map_or(Ok(recovered), Err)
}

#[derive(Default)]
struct NeglectReport {
    ended_starts: u64,
    enqueued_stops: usize,
}

/// Ends starts that no job works on any more, and enqueues the stops that are missing.
async fn handle_neglected(pool: &Database) -> sqlx::Result<NeglectReport> {
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    // The locks are taken in a statement of their own, so that the next statements see what the previous holders of
    // the locks wrote.
    let stale_before = now - JOB_STALE_AFTER;
    let ids =
        db::agents::neglected::neglected_agents_lock_of_any_organization(&mut tx, stale_before)
            .await?;
    let ended_starts = db::agents::neglected::neglected_starts_end_of_any_organization(
        &mut tx,
        &ids,
        STALE_JOB_ERROR,
        now,
    )
    .await?;
    let agents = db::agents::neglected::agents_to_stop_of_any_organization(&mut tx, &ids).await?;
    let to_stop = agents.into_iter().filter(|agent| agent.expects_container);
    let to_stop: Vec<NeglectedAgent> = to_stop.collect();
    let suspended = to_stop.iter().filter(|agent| agent.suspended);
    let suspended: Vec<AgentId> = suspended.map(|agent| agent.agent_id).collect();
    if !suspended.is_empty() {
        let reason = StopReason::Billing;
        db::agents::neglected::stop_reasons_fill_of_any_organization(&mut tx, &suspended, reason)
            .await?;
    }
    let stops: Vec<StopJob> = to_stop
        .into_iter()
        .map(|agent| StopJob {
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
    Ok(NeglectReport {
        ended_starts,
        enqueued_stops: stops.len(),
    })
}

#[derive(Default)]
struct Announcements {
    accepted: usize,
    rejected: usize,
}

async fn announce_due_jobs(pool: &Database, publisher: &Publisher) -> sqlx::Result<Announcements> {
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let mut due = Vec::new();
    // Stops first: nobody pays for an agent that was asked to stop and still runs.
    for lane in [JobClass::Stop, JobClass::Start] {
        let jobs =
            db::jobs::lanes::jobs_announce_of_any_organization(&mut conn, lane, Announce::All, now)
                .await?;
        due.extend(jobs);
    }
    drop(conn);
    announce(pool, publisher, &due).await
}

/// Announces ended jobs whose webhook is due.
async fn announce_due_webhooks(
    pool: &Database,
    publisher: &Publisher,
) -> sqlx::Result<Announcements> {
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let due = db::jobs::lanes::webhooks_announce_of_any_organization(&mut conn, now).await?;
    drop(conn);
    announce(pool, publisher, &due).await
}

/// Publishes the events of jobs that are recorded as announced.
async fn announce(
    pool: &Database,
    publisher: &Publisher,
    due: &[DueJob],
) -> sqlx::Result<Announcements> {
    let accepted = publish_due_jobs(publisher, due).await;
    let rejected = due.iter().zip(accepted).filter(|(_, accepted)| !accepted);
    let rejected: Vec<JobId> = rejected.map(|(job, _)| job.id).collect();
    if !rejected.is_empty() {
        let mut conn = pool.statements();
        db::jobs::lanes::jobs_unannounce_of_any_organization(&mut conn, &rejected).await?;
    }
    Ok(Announcements {
        accepted: due.len() - rejected.len(),
        rejected: rejected.len(),
    })
}

async fn measure_backlog(pool: &Database) -> sqlx::Result<MeasuredBacklog> {
    let mut conn = pool.statements();
    let at = db::clock::billing_clock(&mut conn).await?;
    let backlog = db::jobs::lanes::backlog_of_any_organization(&mut conn, at).await?;
    let connections_percent = db::connections::connections_percent(&mut conn).await?;
    Ok(MeasuredBacklog {
        backlog,
        connections_percent,
        at,
    })
}

async fn announce_due_tombstones(
    pool: &Database,
    publisher: &Publisher,
) -> sqlx::Result<Announcements> {
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let due = db::agents::tombstones::tombstones_due_of_any_organization(&mut conn, now).await?;
    let old = now - TOMBSTONE_OLD_AFTER;
    let old = db::agents::tombstones::tombstones_count_of_any_organization(&mut conn, old).await?;
    drop(conn);
    if old > 0 {
        error!(
            tombstones = old,
            "{old} tombstones are older than an hour: what these deleted agents left is not removed"
        );
    }
    let accepted = publish_due_tombstones(publisher, &due).await;
    Ok(Announcements {
        accepted,
        rejected: due.len() - accepted,
    })
}

/// Deletes expired keys until there are none or the time is over. Returns how many.
async fn delete_idempotency_keys(pool: &Database) -> sqlx::Result<u64> {
    let started = Instant::now();
    let mut conn = pool.statements();
    let mut deleted = 0;
    loop {
        let count =
            db::requests::idempotency::idempotency_keys_expire_of_any_organization(&mut conn)
                .await?;
        deleted += count;
        if count == 0 || started.elapsed() > EXPIRY_TIME {
            return Ok(deleted);
        }
    }
}
