//! The workers of a virtual fleet. Owns: which jobs run in a minute, and which of their outcomes are right.

use std::time::Instant;

use dev::runtime::{Instance, Outcome};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::VirtualFleet;
use super::schedule::HostState;
use crate::calls::JOB_TIMEOUT;
use crate::simulated_world::SimulatedWorld;

/// As many as an organization's stops that may run at a time, so that none of them waits.
const WORKERS: usize = 4;
/// What a start fails with on a host that only seems well.
const DISK_FULL: &str = "The host's disk is full";

/// A job after an attempt.
#[derive(Debug, sqlx::FromRow)]
struct AttemptedJob {
    kind: String,
    agent_id: Uuid,
    error: Option<String>,
    /// The host that its agent's row names.
    node_id: Option<String>,
}

pub(super) async fn start_workers(fleet: &SimulatedWorld) -> Vec<Instance> {
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.world.function("job-run").start().await);
    }
    workers
}

impl VirtualFleet {
    /// Runs an attempt of each job that is due.
    pub(super) async fn run_due_jobs(&mut self, minute: usize) {
        let due: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE status = 'pending'
                AND scheduled_for <= billing_clock() AT TIME ZONE 'UTC'
            ORDER BY scheduled_for, id",
        )
        .fetch_all(&self.fleet.world.pool)
        .await
        .expect("jobs");
        let started = Instant::now();
        let workers = self.workers.iter().enumerate();
        let shares = workers.map(|(number, worker)| {
            let share: Vec<Uuid> = due.iter().skip(number).step_by(WORKERS).copied().collect();
            async move {
                let mut outcomes = Vec::new();
                for job in share {
                    outcomes.push((job, attempt(worker, job).await));
                }
                outcomes
            }
        });
        let outcomes = join_all(shares).await;
        self.report.job_time += started.elapsed();
        for (job, outcome) in outcomes.into_iter().flatten() {
            self.check_attempt(job, &outcome, minute).await;
        }
    }

    /// Panics unless the state of the hosts explains the outcome.
    async fn check_attempt(&mut self, job: Uuid, outcome: &str, minute: usize) {
        let job = self.attempted_job(job).await;
        let host = job.node_id.as_ref().map(|name| self.index_by_name[name]);
        let state = host.map(|host| self.schedule.state(host, minute));
        let is_explained = match (job.kind.as_str(), outcome) {
            ("milady_provision", "completed") => state.is_some_and(HostState::takes_agents),
            // The next attempt takes another host.
            ("milady_provision", "again") => job.error.as_deref() == Some(DISK_FULL),
            ("milady_suspend", "completed") => true,
            ("milady_suspend", "again") => state.is_some_and(|state| !state.is_readable()),
            _ => false,
        };
        assert!(
            is_explained,
            "minute {minute}: {outcome}: {job:?} on a host that is {state:?}"
        );
        match (job.kind.as_str(), outcome, host) {
            ("milady_provision", "completed", Some(host)) => {
                self.report.started += 1;
                self.oracle.start(job.agent_id, host, minute);
                self.let_containers_grow_old(host).await;
            }
            (_, "completed", _) => self.report.stopped += 1,
            _ => self.report.repeated += 1,
        }
    }

    async fn attempted_job(&self, job: Uuid) -> AttemptedJob {
        sqlx::query_as(
            "SELECT j.type AS kind, a.id AS agent_id, j.error, a.node_id
            FROM jobs j JOIN milady_sandboxes a ON a.id = j.agent_id WHERE j.id = $1",
        )
        .bind(job)
        .fetch_one(&self.fleet.world.pool)
        .await
        .expect("a job")
    }

    /// The status text of a simulated container does not change with time. Runs would go on looking closely at one that has
    /// just been started.
    async fn let_containers_grow_old(&self, host: usize) {
        self.fleet.sim.hosts()[host]
            .update_script(|script| {
                for container in &mut script.containers {
                    if container.status == "Up Less than a second" {
                        "Up 5 minutes".clone_into(&mut container.status);
                    }
                }
            })
            .await;
    }
}

/// Runs one attempt. Returns its outcome in one word.
async fn attempt(worker: &Instance, job: Uuid) -> String {
    let event: Value = json!({"detail-type": "job.due", "detail": {"jobId": job}});
    match worker.invoke(event, JOB_TIMEOUT).await {
        Outcome::Success(answer) => answer["outcome"].as_str().expect("a word").to_owned(),
        other => panic!("job-run failed: {other:?}"),
    }
}
