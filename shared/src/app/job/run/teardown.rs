//! Removes what is left of an agent whose row another application deleted, alone or with its user or organization.
//! Owns: that nothing of an agent that exists is removed, and that a tombstone stays until everything it names is gone.
//!
//! ```text
//! tombstone.due -> claim (attempt + 1 = fence) -> containers, volumes, database -> the tombstone is deleted
//!                                                  |-> due again later  (a host or a service failed)
//!                                                  `-> due again later  (a start may not have ended yet)
//! ```

use chrono::TimeDelta;
use tracing::{info, warn};

use super::attempt::JobOutcome;
use super::error::StepError;
use super::{cleanup, database};
use crate::agent_databases::AgentDatabases;
use crate::app::host_access::{Host, JobHostDeps};
use crate::db;
use crate::db::Database;
use crate::db::agents::tombstones::{Tombstone, TombstoneFence};
use crate::domain::ids::AgentId;
use crate::domain::job::{JOB_STALE_AFTER, JobKind};

/// How long a worker keeps a tombstone to itself: longer than a function may run.
const CLAIM_TIMEOUT: TimeDelta = TimeDelta::minutes(16);
/// How long to wait for the end of a start that was under way when the agent was deleted.
const AGAIN_AFTER_START: TimeDelta = TimeDelta::minutes(1);

/// Processes the tombstone of an agent, if it is due. The outcome is `Lost` if another worker takes the tombstone
/// meanwhile or the agent exists again; it is never `Failed`.
///
/// # Errors
/// The database fails. The tombstone is due again when the claim ends.
pub async fn teardown(
    pool: &Database,
    hosts: &JobHostDeps,
    agent_id: AgentId,
) -> sqlx::Result<JobOutcome> {
    let mut tx = pool.begin().await?;
    let readiness = db::clock::readiness(&mut tx).await?;
    if readiness.adoption_required {
        return Ok(JobOutcome::NotAdopted);
    }
    let now = readiness.now;
    let claim = db::agents::tombstones::tombstone_claim_of_any_organization(
        &mut tx,
        agent_id,
        now,
        now + CLAIM_TIMEOUT,
        now - JOB_STALE_AFTER,
    );
    let Some(tombstone) = claim.await? else {
        return Ok(JobOutcome::NothingToDo);
    };
    if tombstone.agent_exists {
        // Somebody restored the row, so the container, the volume and the database belong to it again.
        let fence = tombstone.fence;
        db::agents::tombstones::tombstone_delete_of_any_organization(&mut tx, fence).await?;
        tx.commit().await?;
        return Ok(JobOutcome::Lost);
    }
    tx.commit().await?;
    let worker = Worker {
        pool,
        hosts,
        fence: tombstone.fence,
    };
    match worker.remove_all(&tombstone).await {
        Ok(()) => worker.finish(&tombstone).await,
        Err(StepError::Lost) => Ok(JobOutcome::Lost),
        Err(error) => worker.retry(&error).await,
    }
}

struct Worker<'a> {
    pool: &'a Database,
    hosts: &'a JobHostDeps,
    fence: TombstoneFence,
}

impl Worker<'_> {
    /// Removes as much as possible, even if a host or the database service fails.
    async fn remove_all(&self, tombstone: &Tombstone) -> Result<(), StepError> {
        let mut host_ids: Vec<&str> = Vec::new();
        host_ids.extend(tombstone.node_id.as_deref());
        for host_id in &tombstone.former_nodes {
            if !host_ids.contains(&host_id.as_str()) {
                host_ids.push(host_id);
            }
        }
        let mut failure = None;
        for node_id in host_ids {
            let mut cleaned = self.clean_host(node_id).await;
            if cleaned.is_ok() && tombstone.node_id.as_deref() == Some(node_id) {
                cleaned = self.free_slot().await;
            }
            keep_first(&mut failure, cleaned)?;
        }
        if tombstone.has_database {
            keep_first(&mut failure, self.remove_database(tombstone).await)?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Removes the agent's container and volume from a host. If the host is no longer registered, everything that was
    /// on it counts as gone.
    async fn clean_host(&self, node_id: &str) -> Result<(), StepError> {
        let mut conn = self.pool.statements();
        let coordinates = db::hosts::coordinates::host_find(&mut conn, node_id).await?;
        let Some(coordinates) = coordinates else {
            return Ok(());
        };
        // What is there is removed when the host is back in service, or forgotten when it leaves the fleet.
        if coordinates.is_lost {
            return Err(StepError::external("The host is declared lost"));
        }
        let host = Host::open(self.pool, &self.hosts.hosts, coordinates).await?;
        let agent_id = self.fence.agent_id;
        if let Some(container) = cleanup::find_own_container(&host.engine, agent_id).await? {
            self.check_fence().await?;
            cleanup::stop_and_remove(&host.engine, &container).await?;
        }
        self.check_fence().await?;
        cleanup::remove_volume(&host.engine, agent_id).await?;
        Ok(())
    }

    async fn free_slot(&self) -> Result<(), StepError> {
        let mut conn = self.pool.statements();
        let fence = self.fence;
        db::agents::tombstones::tombstone_slot_free_of_any_organization(&mut conn, fence).await?;
        Ok(())
    }

    async fn remove_database(&self, tombstone: &Tombstone) -> Result<(), StepError> {
        self.check_fence().await?;
        if matches!(self.hosts.databases, AgentDatabases::NotConfigured) {
            return Err(database::not_configured());
        }
        let project_id = tombstone.neon_project_id.as_deref();
        database::remove_own(&self.hosts.databases, self.fence.agent_id, project_id).await
    }

    /// Fails if the fence is lost. Called before anything is removed.
    async fn check_fence(&self) -> Result<(), StepError> {
        let mut conn = self.pool.statements();
        let fence = self.fence;
        let is_held =
            db::agents::tombstones::tombstone_is_held_of_any_organization(&mut conn, fence).await?;
        if is_held {
            Ok(())
        } else {
            Err(StepError::Lost)
        }
    }

    async fn finish(&self, tombstone: &Tombstone) -> sqlx::Result<JobOutcome> {
        let fence = self.fence;
        let mut tx = self.pool.begin().await?;
        let outcome = if tombstone.may_be_starting {
            let now = db::clock::billing_clock(&mut tx).await?;
            let due_at = now + AGAIN_AFTER_START;
            db::agents::tombstones::tombstone_retry_of_any_organization(
                &mut tx, fence, due_at, None,
            )
            .await?;
            JobOutcome::Retried
        } else {
            db::agents::tombstones::tombstone_delete_of_any_organization(&mut tx, fence).await?;
            JobOutcome::Completed
        };
        tx.commit().await?;
        info!(
            agent.id = %fence.agent_id, organization.id = %tombstone.organization_id,
            attempt = fence.attempts, ?outcome, "tombstone of agent {} processed", fence.agent_id
        );
        Ok(outcome)
    }

    async fn retry(&self, error: &StepError) -> sqlx::Result<JobOutcome> {
        let fence = self.fence;
        warn!(
            agent.id = %fence.agent_id, attempt = fence.attempts, %error, cause = error.cause(),
            "could not remove what agent {} left behind: {error}; it will be tried again", fence.agent_id
        );
        // Stops have no last attempt, so there always is a wait.
        let wait = JobKind::Delete.retry().wait_after(fence.attempts);
        let wait = wait.unwrap_or(CLAIM_TIMEOUT);
        let mut tx = self.pool.begin().await?;
        let now = db::clock::billing_clock(&mut tx).await?;
        db::agents::tombstones::tombstone_retry_of_any_organization(
            &mut tx,
            fence,
            now + wait,
            Some(&error.to_string()),
        )
        .await?;
        tx.commit().await?;
        Ok(JobOutcome::Retried)
    }
}

/// Keeps the first failure while the rest is removed. A worker that lost the tombstone stops at once.
fn keep_first(
    failure: &mut Option<StepError>,
    result: Result<(), StepError>,
) -> Result<(), StepError> {
    match result {
        Err(StepError::Lost) => return Err(StepError::Lost),
        Err(error) => {
            failure.get_or_insert(error);
        }
        Ok(()) => {}
    }
    Ok(())
}
