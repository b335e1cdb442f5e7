//! A job in hand. Owns: the steps it records, each under the fence: a worker that lost its job learns it
//! before it does anything more.

use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Ports, Stop};
use crate::app::host_access::Hosts;
use crate::db;
use crate::db::jobs::work::{Claimed, Progress};
use crate::domain::agent::AgentStatus;
use crate::domain::job::Step;

/// How often a long step says that it is still being worked on.
const STILL_EVERY: Duration = Duration::from_secs(10);

/// What a job works on, and what it has done so far.
pub(super) struct Work<'a> {
    pub(super) pool: &'a PgPool,
    pub(super) ports: Ports<'a>,
    pub(super) hosts: &'a Hosts,
    pub(super) job: &'a Claimed,
    pub(super) agent_id: Uuid,
    pub(super) steps: Vec<Step>,
}

impl<'a> Work<'a> {
    pub(super) fn new(ports: Ports<'a>, job: &'a Claimed, agent_id: Uuid) -> Self {
        Self {
            pool: ports.pool,
            ports,
            hosts: ports.hosts,
            job,
            agent_id,
            steps: Vec::new(),
        }
    }

    pub(super) fn ids(&self) -> (Uuid, Uuid) {
        (self.job.organization_id, self.agent_id)
    }

    /// Begins a step.
    pub(super) async fn begin(&mut self, step: &'static str) -> Result<(), Stop> {
        self.record(step, "running").await
    }

    /// Ends a step.
    pub(super) async fn done(&mut self, step: &'static str) -> Result<(), Stop> {
        self.record(step, "done").await
    }

    /// A step did not work, and the job goes on without it.
    pub(super) async fn without(&mut self, step: &'static str) -> Result<(), Stop> {
        self.record(step, "failed").await
    }

    async fn record(&mut self, step: &'static str, status: &'static str) -> Result<(), Stop> {
        let mut conn = self.pool.acquire().await?;
        let now = db::clock::billing_clock(&mut conn).await?;
        self.record_in(&mut conn, step, status, now).await
    }

    /// Records a step in the transaction of what it did.
    pub(super) async fn record_in(
        &mut self,
        conn: &mut PgConnection,
        step: &'static str,
        status: &'static str,
        now: DateTime<Utc>,
    ) -> Result<(), Stop> {
        self.steps.retain(|known| known.name != step);
        let step = Step {
            name: step,
            status,
            at: now,
        };
        self.steps.push(step);
        self.hold(conn, now).await
    }

    /// What was being done when the job stopped, failed.
    pub(super) fn fail_step(&mut self) {
        for step in &mut self.steps {
            if step.status == "running" {
                step.status = "failed";
            }
        }
    }

    /// Does something that may take long; meanwhile the job shows that somebody works on it, and a
    /// worker that lost it stops.
    pub(super) async fn patiently<T>(&self, doing: impl Future<Output = T>) -> Result<T, Stop> {
        let mut doing = pin!(doing);
        loop {
            let still = async {
                tokio::time::sleep(STILL_EVERY).await;
                let mut conn = self.pool.acquire().await?;
                let now = db::clock::billing_clock(&mut conn).await?;
                self.hold(&mut conn, now).await
            };
            // What is being done goes on while this is written: it may hold the one connection itself.
            tokio::select! {
                done = &mut doing => return Ok(done),
                written = still => written?,
            }
        }
    }

    /// Writes what was done so far, if the job is still ours.
    pub(super) async fn hold(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<(), Stop> {
        let progress = Progress {
            status: "in_progress",
            steps: Some(&json!(self.steps)),
            result: None,
            error: None,
            again_at: None,
        };
        self.write(conn, &progress, now).await
    }

    /// Ends the job, in the transaction of its last effect.
    pub(super) async fn complete(
        &self,
        conn: &mut PgConnection,
        status: AgentStatus,
        more: &[(&str, Value)],
        now: DateTime<Utc>,
    ) -> Result<(), Stop> {
        let domain = self.hosts.domain.as_ref();
        let address = domain
            .filter(|_| status == AgentStatus::Running)
            .map(|domain| format!("https://{}.{domain}", self.agent_id));
        let mut result: Value = json!({
            "cloudAgentId": self.agent_id, "status": status, "bridgeUrl": address,
            "healthUrl": address,
        });
        for (name, value) in more {
            result[name] = value.clone();
        }
        let progress = Progress {
            status: "completed",
            steps: Some(&json!(self.steps)),
            result: Some(&result),
            error: None,
            again_at: None,
        };
        self.write(conn, &progress, now).await
    }

    async fn write(
        &self,
        conn: &mut PgConnection,
        progress: &Progress<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Stop> {
        let fence = (self.job.id, self.job.attempt);
        if db::jobs::work::job_write(conn, fence, progress, now).await? {
            Ok(())
        } else {
            Err(Stop::Lost)
        }
    }
}
