//! What a running job works with. Owns: recording the job's progress under its fence, so that a worker that lost its
//! job learns it before it does anything more.

use std::pin::pin;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::error::StepError;
use crate::app::host_access::JobHostDeps;
use crate::db;
use crate::db::jobs::worker::{ClaimedJob, FenceState, JobProgress};
use crate::db::{Connection, Database};
use crate::domain::agent::AgentStatus;
use crate::domain::ids::{AgentId, AgentRef};
use crate::domain::job::{JobStatus, Step, StepName, StepProgress, StepStatus};
use crate::domain::pricing::Prices;
use crate::domain::timestamp::Timestamp;

/// How often a long step records that its worker is alive. Far below `JOB_STALE_AFTER`, so that a slow database does
/// not make a live worker count as dead.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// What the end of an attempt takes: a roll-back, and recording how it ended.
const END_RESERVE: Duration = Duration::from_secs(20);

/// What running a job takes.
#[derive(Clone, Copy, Debug)]
pub struct JobDeps<'a> {
    pub pool: &'a Database,
    /// The credit gate is asked again before a start.
    pub prices: &'a Prices,
    pub hosts: &'a JobHostDeps,
    /// When the function is ended. `None` if it is not.
    pub deadline: Option<Instant>,
}

/// A claimed job, the agent it is for, and the steps done so far.
pub(super) struct JobContext<'a> {
    pub(super) pool: &'a Database,
    pub(super) prices: &'a Prices,
    pub(super) hosts: &'a JobHostDeps,
    pub(super) job: &'a ClaimedJob,
    pub(super) agent_id: AgentId,
    deadline: Option<Instant>,
    /// The steps that jobs of this kind have.
    known_steps: &'static [StepName],
    steps: Vec<Step>,
}

impl<'a> JobContext<'a> {
    pub(super) fn new(
        deps: JobDeps<'a>,
        job: &'a ClaimedJob,
        agent_id: AgentId,
        known_steps: &'static [StepName],
    ) -> Self {
        Self {
            pool: deps.pool,
            prices: deps.prices,
            hosts: deps.hosts,
            job,
            agent_id,
            deadline: deps.deadline,
            known_steps,
            steps: Vec::new(),
        }
    }

    pub(super) fn agent(&self) -> AgentRef {
        AgentRef {
            organization_id: self.job.organization_id,
            agent_id: self.agent_id,
        }
    }

    /// Fails if the function has less time left than a step needs: a step that the function's end interrupts would leave
    /// what it made until the sweep finds the job (F80).
    pub(super) fn require_time(&self, needed: Duration) -> Result<(), StepError> {
        match self.time_left() {
            Some(left) if left < needed => Err(StepError::OutOfTime),
            _ => Ok(()),
        }
    }

    /// How long a step may take before the attempt has to end. `None` if it may take any time.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        Some(left.saturating_sub(END_RESERVE))
    }

    /// 32 random bytes in hexadecimal digits.
    pub(super) fn random_secret(&self) -> Result<String, StepError> {
        let bytes = (self.hosts.random)();
        let bytes = bytes.ok_or_else(|| StepError::external("No random numbers are available"))?;
        Ok(hex::encode(bytes))
    }

    pub(super) async fn start_step(&mut self, step: StepName) -> Result<(), StepError> {
        self.record_step(step, StepStatus::Running).await
    }

    pub(super) async fn finish_step(&mut self, step: StepName) -> Result<(), StepError> {
        self.record_step(step, StepStatus::Done).await
    }

    /// Records that a step failed and that the job goes on without it.
    pub(super) async fn skip_step(&mut self, step: StepName) -> Result<(), StepError> {
        self.record_step(step, StepStatus::Failed).await
    }

    /// The same in a transaction.
    pub(super) async fn skip_step_in(
        &mut self,
        conn: &mut Connection,
        step: StepName,
        now: DateTime<Utc>,
    ) -> Result<(), StepError> {
        self.record_step_in(conn, step, StepStatus::Failed, now)
            .await
    }

    /// Records how far a step is that runs.
    pub(super) async fn record_progress(
        &mut self,
        name: StepName,
        progress: StepProgress,
    ) -> Result<(), StepError> {
        if let Some(step) = self.steps.iter_mut().find(|step| step.name == name) {
            step.progress = Some(progress);
        }
        let mut conn = self.pool.statements();
        let now = db::clock::billing_clock(&mut conn).await?;
        self.checkpoint(&mut conn, now).await
    }

    /// Records a step as done in the transaction of its effect.
    pub(super) async fn finish_step_in(
        &mut self,
        conn: &mut Connection,
        step: StepName,
        now: DateTime<Utc>,
    ) -> Result<(), StepError> {
        self.record_step_in(conn, step, StepStatus::Done, now).await
    }

    /// Records the beginning of a step in a transaction.
    pub(super) async fn start_step_in(
        &mut self,
        conn: &mut Connection,
        step: StepName,
        now: DateTime<Utc>,
    ) -> Result<(), StepError> {
        self.record_step_in(conn, step, StepStatus::Running, now)
            .await
    }

    async fn record_step(&mut self, step: StepName, status: StepStatus) -> Result<(), StepError> {
        let mut conn = self.pool.statements();
        let now = db::clock::billing_clock(&mut conn).await?;
        self.record_step_in(&mut conn, step, status, now).await
    }

    async fn record_step_in(
        &mut self,
        conn: &mut Connection,
        name: StepName,
        status: StepStatus,
        now: DateTime<Utc>,
    ) -> Result<(), StepError> {
        debug_assert!(
            self.known_steps.contains(&name),
            "{} has no step {}",
            self.job.kind.as_str(),
            name.as_str()
        );
        let before = self.steps.iter().find(|step| step.name == name);
        let progress = before.and_then(|step| step.progress);
        self.steps.retain(|step| step.name != name);
        self.steps.push(Step {
            name,
            status,
            at: Timestamp(now),
            progress,
        });
        self.checkpoint(conn, now).await
    }

    /// The steps of an attempt that failed: the one that was running has failed.
    pub(super) fn into_failed_steps(mut self) -> Vec<Step> {
        for step in &mut self.steps {
            if step.status == StepStatus::Running {
                step.status = StepStatus::Failed;
            }
        }
        self.steps
    }

    /// Does work that may take long. Meanwhile a heartbeat keeps the job from counting as stale, and ends the work if
    /// the job was lost.
    pub(super) async fn with_heartbeat<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, StepError> {
        let mut work = pin!(work);
        loop {
            let heartbeat = async {
                tokio::time::sleep(HEARTBEAT_INTERVAL).await;
                let mut conn = self.pool.statements();
                let now = db::clock::billing_clock(&mut conn).await?;
                self.checkpoint(&mut conn, now).await
            };
            // The work goes on while the heartbeat is written: it may hold the pool's only connection itself.
            tokio::select! {
                output = &mut work => return Ok(output),
                written = heartbeat => written?,
            }
        }
    }

    /// Asks for the fence. Before anything is removed after a failure, because the failure may be a lost answer to the
    /// commit that completed the job (F71).
    pub(super) async fn fence_state(&self) -> Result<FenceState, StepError> {
        let mut conn = self.pool.statements();
        Ok(db::jobs::worker::fence_state(&mut conn, self.job.fence()).await?)
    }

    /// Records the steps so far, under the fence.
    pub(super) async fn checkpoint(
        &self,
        conn: &mut Connection,
        now: DateTime<Utc>,
    ) -> Result<(), StepError> {
        let progress = JobProgress {
            status: JobStatus::InProgress,
            steps: Some(&json!(self.steps)),
            result: None,
            error: None,
            again_at: None,
        };
        self.write(conn, &progress, now).await
    }

    /// Completes the job, in the transaction of its last effect. `details` are added to the job's result.
    pub(super) async fn complete(
        &self,
        conn: &mut Connection,
        status: AgentStatus,
        details: Map<String, Value>,
        now: DateTime<Utc>,
    ) -> Result<(), StepError> {
        let domain = self.hosts.domain.as_ref();
        let address = domain
            .filter(|_| status == AgentStatus::Running)
            .map(|domain| format!("https://{}.{domain}", self.agent_id));
        let mut result = details;
        result.insert("cloudAgentId".to_owned(), json!(self.agent_id));
        result.insert("status".to_owned(), json!(status));
        result.insert("bridgeUrl".to_owned(), json!(address));
        result.insert("healthUrl".to_owned(), json!(address));
        let progress = JobProgress {
            status: JobStatus::Completed,
            steps: Some(&json!(self.steps)),
            result: Some(&Value::Object(result)),
            error: None,
            again_at: None,
        };
        self.write(conn, &progress, now).await
    }

    async fn write(
        &self,
        conn: &mut Connection,
        progress: &JobProgress<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), StepError> {
        let fence = self.job.fence();
        if db::jobs::worker::job_write(conn, fence, progress, now).await? {
            Ok(())
        } else {
            Err(StepError::Lost)
        }
    }
}
