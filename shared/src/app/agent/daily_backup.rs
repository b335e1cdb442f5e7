//! Daily backups of running agents, and the end of objects that no backup refers to. Owns: that each running agent is tried
//! once a day and again after a failure, that organizations take turns, and that only a few agents are read at a time. It takes
//! no input and can be repeated.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use tracing::{error, info, warn};

use super::snapshot::SnapshotDeps;
use crate::app::error::RequestError;
use crate::app::host_access::{FindAgentError, connect, find_running_agent};
use crate::app::{agent_state, state_store};
use crate::bucket::Bucket;
use crate::db;
use crate::db::agents::backups::DAILY;
use crate::db::agents::daily_backups::{BackupTime, DueBackup};
use crate::domain::agent::StatusConflict;
use crate::domain::daily_backup::{MANY_FAILURES, next_after, retry_after};
use crate::domain::ids::OrganizationId;
use crate::hosts::AgentHttp;

/// How many states are read, and in memory, at a time.
const AGENTS_AT_ONCE: i64 = 4;
/// Longer than the function may run.
const CLAIM_TIMEOUT: TimeDelta = TimeDelta::minutes(16);
/// An upload and its transaction take minutes at most.
const ABANDONED_AFTER: TimeDelta = TimeDelta::hours(1);
/// Objects that are read from the database at a time.
const OBJECTS_AT_ONCE: i64 = 200;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DailyReport {
    pub saved: usize,
    /// They are tried again, and their owners see why.
    pub failed: usize,
    /// Agents that stopped meanwhile.
    pub skipped: usize,
    pub deleted_objects: usize,
}

/// Backs up the agents that are due, as long as `has_time` says that there is time for some more.
pub async fn daily_backups(
    deps: SnapshotDeps<'_>,
    has_time: impl Fn() -> bool,
) -> sqlx::Result<DailyReport> {
    schedule(deps).await?;
    let mut report = DailyReport::default();
    let mut claimed: BTreeMap<OrganizationId, i64> = BTreeMap::new();
    while has_time() {
        let mut conn = deps.pool.statements();
        let now = db::clock::billing_clock(&mut conn).await?;
        let again_at = now + CLAIM_TIMEOUT;
        let due = db::agents::daily_backups::backups_claim_of_any_organization(
            &mut conn,
            &claimed,
            now,
            again_at,
            AGENTS_AT_ONCE,
        )
        .await?;
        drop(conn);
        if due.is_empty() {
            break;
        }
        for due in &due {
            *claimed.entry(due.agent.organization_id).or_default() += 1;
        }
        let states = join_all(due.iter().map(|due| read(deps, *due))).await;
        // One after the other: there is one connection to the database.
        for (due, state) in due.into_iter().zip(states) {
            back_up(deps, due, state, now, &mut report).await?;
        }
    }
    if let Some(bucket) = deps.bucket {
        report.deleted_objects = delete_abandoned_objects(deps, bucket, has_time).await?;
    }
    Ok(report)
}

/// Gives each agent that began to run its time of the day.
async fn schedule(deps: SnapshotDeps<'_>) -> sqlx::Result<()> {
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    db::agents::daily_backups::backup_times_forget_of_any_organization(&mut conn).await?;
    let agents =
        db::agents::daily_backups::agents_without_time_of_any_organization(&mut conn).await?;
    let times = agents.into_iter().map(|agent| BackupTime {
        agent,
        due_at: next_after(agent.agent_id, now),
    });
    let times: Vec<BackupTime> = times.collect();
    db::agents::daily_backups::backup_times_insert_of_any_organization(&mut conn, &times).await
}

/// Reads the state of an agent. `None` if it does not run any more.
async fn read(deps: SnapshotDeps<'_>, due: DueBackup) -> Result<Option<Bytes>, RequestError> {
    let state = try_read(deps, due).await;
    if state.is_err() && !is_running(deps, due).await? {
        return Ok(None);
    }
    state
}

async fn try_read(deps: SnapshotDeps<'_>, due: DueBackup) -> Result<Option<Bytes>, RequestError> {
    let Some(running) = find_running_agent(deps.pool, due.agent).await? else {
        return Ok(None);
    };
    let port = running.record.bridge();
    let port = port.ok_or(StatusConflict("The agent has no address"))?;
    let connection = connect(deps.pool, deps.hosts, &running.node).await?;
    let http = AgentHttp::new(connection, port);
    let state = agent_state::fetch(&http, agent_state::TIMEOUT).await?;
    Ok(Some(state))
}

/// Whether the agent runs and was not asked to stop. A stop makes a backup of its own.
async fn is_running(deps: SnapshotDeps<'_>, due: DueBackup) -> Result<bool, RequestError> {
    match find_running_agent(deps.pool, due.agent).await {
        Err(FindAgentError::NoAgent) => Ok(false),
        found => Ok(found?.is_some()),
    }
}

/// Stores a state that was read after `began_at`, and records how the attempt ended.
async fn back_up(
    deps: SnapshotDeps<'_>,
    due: DueBackup,
    state: Result<Option<Bytes>, RequestError>,
    began_at: DateTime<Utc>,
    report: &mut DailyReport,
) -> sqlx::Result<()> {
    let stored = match state {
        Ok(Some(state)) => store(deps, due, state, began_at).await.map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let agent_id = due.agent.agent_id;
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let (failure, due_at) = match &stored {
        Ok(Some(())) => {
            report.saved += 1;
            (None, next_after(agent_id, now))
        }
        Ok(None) => {
            report.skipped += 1;
            (None, next_after(agent_id, now))
        }
        Err(error) => {
            report.failed += 1;
            let failures = due.failures + 1;
            log_failure(due, failures, error);
            (Some(error.to_string()), now + retry_after(failures))
        }
    };
    db::agents::daily_backups::backup_attempt_end(&mut conn, due.agent, failure.as_deref(), due_at)
        .await
}

fn log_failure(due: DueBackup, failures: i32, error: &RequestError) {
    let agent_id = due.agent.agent_id;
    let cause = error.cause();
    if failures >= MANY_FAILURES {
        error!(
            agent.id = %agent_id, failures, %error, cause,
            "agent {agent_id} runs without a daily backup: {failures} attempts in a row have failed"
        );
    } else {
        warn!(
            agent.id = %agent_id, failures, %error, cause,
            "the daily backup of agent {agent_id} failed; it is tried again later"
        );
    }
}

/// The backup counts as taken when its reading began: a stop may have made a newer one meanwhile.
async fn store(
    deps: SnapshotDeps<'_>,
    due: DueBackup,
    state: Bytes,
    began_at: DateTime<Utc>,
) -> Result<(), RequestError> {
    let agent = due.agent;
    let staged = state_store::stage(deps.pool, deps.bucket, agent, state).await?;
    let mut tx = deps.pool.begin().await?;
    db::agents::lifecycle::agent_lock(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    state_store::insert(&mut tx, agent, DAILY, &staged, began_at).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes objects whose backup was deleted, or never inserted, as long as there is time for some more. This is how objects
/// end, whoever deleted the backup.
async fn delete_abandoned_objects(
    deps: SnapshotDeps<'_>,
    bucket: &Bucket,
    has_time: impl Fn() -> bool,
) -> sqlx::Result<usize> {
    let mut deleted = 0;
    loop {
        let some = delete_some_objects(deps, bucket).await?;
        deleted += some;
        // Fewer were the last ones, or the bucket refused one.
        let is_full = i64::try_from(some).is_ok_and(|some| some == OBJECTS_AT_ONCE);
        if !is_full || !has_time() {
            break;
        }
    }
    if deleted > 0 {
        info!(
            objects = deleted,
            "{deleted} objects without a backup were deleted"
        );
    }
    Ok(deleted)
}

async fn delete_some_objects(deps: SnapshotDeps<'_>, bucket: &Bucket) -> sqlx::Result<usize> {
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let objects = db::agents::backup_objects::objects_abandoned_of_any_organization(
        &mut conn,
        now - ABANDONED_AFTER,
        OBJECTS_AT_ONCE,
    )
    .await?;
    drop(conn);
    let mut deleted = 0;
    for object in objects {
        let key = state_store::key(object.agent, object.backup_id);
        if let Err(error) = bucket.delete(&key).await {
            warn!(
                agent.id = %object.agent.agent_id, %error, cause = error.cause(),
                "an object without a backup was not deleted; the next run tries it again"
            );
            break;
        }
        let mut conn = deps.pool.statements();
        db::agents::backup_objects::object_delete(&mut conn, object.agent, object.backup_id)
            .await?;
        deleted += 1;
    }
    Ok(deleted)
}
