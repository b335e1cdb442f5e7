//! Starting agents again that billing stopped, after a top-up. Owns: when that is attempted, and that the owner is told
//! how it went.
//!
//! Every minute the sweep asks the credit gate about the agents whose `stop_reason` is `billing`, the oldest stop first.
//! It compares balances, so it does not matter who topped up. After an attempt the agent waits until the balance is
//! higher than the lowest one since then, which is a top-up, or until an hour is over. A refusal counts for all agents
//! of the organization. The job's first step clears the reason, so a start that fails later is not attempted again: that
//! is up to the owner, who is told why.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::start::{StartOutcome, begin};
use crate::app::error::RequestError;
use crate::db;
use crate::db::agents::resumes::{EndedResume, ResumeLimits, ResumeOutcome};
use crate::db::requests::outbox::NewEvents;
use crate::db::{Connection, Database};
use crate::domain::agent::StopReason;
use crate::domain::billing::{ListedAgent, MAX_LISTED_AGENTS};
use crate::domain::credit_gate::Refusal;
use crate::domain::ids::{AgentRef, OrganizationId};
use crate::domain::limits::LimitName;
use crate::domain::mail::MailTemplate;
use crate::domain::pricing::Prices;

/// Of one sweep. An organization's further agents are started by the next ones.
const LIMITS: ResumeLimits = ResumeLimits {
    agents: 200,
    agents_per_organization: 20,
};
/// No organization is begun later: the function ends after a minute, and the sweep has other duties.
const SWEEP_TIME: Duration = Duration::from_secs(20);
/// When an attempt is repeated without a top-up: the credit that is needed may have become less, because an agent was
/// stopped or deleted.
const RETRY_AFTER: TimeDelta = TimeDelta::hours(1);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeReport {
    /// Agents that a job starts, or that keep running.
    pub resumed: usize,
    /// Events that tell owners how it went.
    pub notices: usize,
}

/// Starts what can be paid for. Until an existing deployment is adopted, nothing is started. Two runs at the same time
/// start no agent twice: each agent is decided on under its lock.
///
/// # Errors
/// The first error of the database, after every organization was attempted. What was done stays done.
pub async fn agents_resume(pool: &Database, prices: &Prices) -> sqlx::Result<ResumeReport> {
    let started = Instant::now();
    let mut conn = pool.statements();
    let readiness = db::clock::readiness(&mut conn).await?;
    if readiness.adoption_required {
        return Ok(ResumeReport::default());
    }
    db::agents::resumes::resume_attempts_delete_of_any_organization(&mut conn).await?;
    db::agents::resumes::lowest_balances_record_of_any_organization(&mut conn).await?;
    let now = readiness.now;
    let agents =
        db::agents::resumes::resumable_agents_of_any_organization(&mut conn, LIMITS, now).await?;
    drop(conn);
    let mut organizations: BTreeMap<OrganizationId, Vec<AgentRef>> = BTreeMap::new();
    for agent in agents {
        let agents = organizations.entry(agent.organization_id).or_default();
        agents.push(agent);
    }
    let mut resumed = 0;
    let mut first_error = None;
    for (organization_id, agents) in &organizations {
        if started.elapsed() > SWEEP_TIME {
            warn!("not every agent that may run again was started; the next sweep goes on");
            break;
        }
        match resume_all(pool, prices, agents).await {
            Ok(count) => resumed += count,
            Err(error) => {
                warn!(
                    organization.id = %organization_id, error = db::error_class(&error),
                    "starting agents after a top-up failed; the next sweep repeats it"
                );
                first_error.get_or_insert(error);
            }
        }
    }
    let notices = tell(pool).await?;
    first_error.map_or(Ok(ResumeReport { resumed, notices }), Err)
}

/// Starts agents of one organization, in this order, until one is refused. Returns how many.
async fn resume_all(pool: &Database, prices: &Prices, agents: &[AgentRef]) -> sqlx::Result<usize> {
    let mut resumed = 0;
    for agent in agents {
        match resume(pool, prices, *agent).await? {
            Attempt::Resumed => {
                resumed += 1;
                info!(
                    agent.id = %agent.agent_id, organization.id = %agent.organization_id,
                    "agent is started again after a top-up"
                );
            }
            Attempt::Passed => {}
            Attempt::Refused => break,
        }
    }
    Ok(resumed)
}

enum Attempt {
    Resumed,
    /// The agent is not started now; others may be.
    Passed,
    /// No agent of the organization is started now.
    Refused,
}

async fn resume(pool: &Database, prices: &Prices, agent: AgentRef) -> sqlx::Result<Attempt> {
    let organization_id = agent.organization_id;
    let mut tx = pool.begin().await?;
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let Some(row) = db::agents::lifecycle::agent_lock(&mut tx, agent).await? else {
        return Ok(Attempt::Passed);
    };
    let settings = db::identity::settings::settings_find(&mut tx, organization_id).await?;
    if row.stop_reason != Some(StopReason::Billing) || !settings.automatic_resume {
        return Ok(Attempt::Passed);
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let this = Some(agent.agent_id);
    // Whose attempt it was: this agent's, or that of all. And when the next one is due.
    let (attempt, attempted, wait) = match begin(&mut tx, prices, agent, &row, None, now).await {
        Ok(StartOutcome::Enqueued(job)) => {
            db::agents::resumes::resume_notice_insert(&mut tx, agent, Some(job.id)).await?;
            (Attempt::Resumed, this, RETRY_AFTER)
        }
        Ok(StartOutcome::KeptRunning) => {
            db::agents::resumes::resume_notice_insert(&mut tx, agent, None).await?;
            (Attempt::Resumed, this, RETRY_AFTER)
        }
        // As soon as the job has ended, the agent is due.
        Ok(StartOutcome::Busy(_)) => return Ok(Attempt::Passed),
        Err(RequestError::Credit(refusal)) => {
            if db::agents::resumes::is_topped_up(&mut tx, agent).await? {
                tell_of_refusal(&mut tx, organization_id, &refusal, now).await?;
            }
            (Attempt::Refused, None, RETRY_AFTER)
        }
        Err(RequestError::LimitReached(reached)) => {
            let wait = reached.retry_after.unwrap_or(RETRY_AFTER);
            if reached.limit == LimitName::ActiveStarts || reached.is_of_all_agents {
                (Attempt::Refused, None, wait)
            } else {
                (Attempt::Passed, this, wait)
            }
        }
        Err(RequestError::Database(error)) => return Err(error),
        Ok(StartOutcome::AlreadyRunning) | Err(_) => (Attempt::Passed, this, RETRY_AFTER),
    };
    let due_at = now + wait;
    db::agents::resumes::resume_attempt_record(&mut tx, organization_id, attempted, due_at).await?;
    tx.commit().await?;
    Ok(attempt)
}

/// Tells the owner that a top-up does not suffice for all agents, at most once a day: other applications may raise the
/// balance often, and by little.
async fn tell_of_refusal(
    conn: &mut Connection,
    organization_id: OrganizationId,
    refusal: &Refusal,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let stopped = db::agents::resumes::agents_stopped_by_billing(conn, organization_id).await?;
    let agents = stopped.iter().map(|agent| ListedAgent {
        id: agent.agent_id,
        name: agent.agent_name.clone(),
    });
    let mut payload = payload(agents);
    payload["reason"] = json!(refusal.to_string());
    let kind = MailTemplate::StartFailed.as_str();
    let event = NewEvents {
        keys: vec![format!("{kind}:{organization_id}:{}", now.date_naive())],
        types: vec![kind.to_owned()],
        organization_ids: vec![organization_id],
        payloads: vec![payload],
    };
    db::requests::outbox::outbox_append(conn, &event, now).await
}

/// Writes events for the owners of agents whose starts have ended: at most one that names those that run and one that
/// names those that do not. Returns how many.
async fn tell(pool: &Database) -> sqlx::Result<usize> {
    let mut tx = pool.begin().await?;
    let ended = db::agents::resumes::resume_notices_take_of_any_organization(&mut tx).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let mut organizations: BTreeMap<OrganizationId, Outcomes> = BTreeMap::new();
    for resume in ended {
        let organization_id = resume.agent.organization_id;
        let outcomes = organizations.entry(organization_id).or_default();
        match resume.outcome {
            ResumeOutcome::Running => outcomes.running.push(resume),
            ResumeOutcome::Failed(_) => outcomes.failed.push(resume),
            ResumeOutcome::Gone => {}
        }
    }
    let mut events = NewEvents::default();
    for (organization_id, outcomes) in &organizations {
        let told = [
            (MailTemplate::Resumed, &outcomes.running),
            (MailTemplate::StartFailed, &outcomes.failed),
        ];
        for (template, resumes) in told {
            let Some(first) = resumes.first() else {
                continue;
            };
            let kind = template.as_str();
            events
                .keys
                .push(format!("{kind}:{organization_id}:{}", first.id));
            events.types.push(kind.to_owned());
            events.organization_ids.push(*organization_id);
            events.payloads.push(outcome_payload(first, resumes));
        }
    }
    if !events.keys.is_empty() {
        db::requests::outbox::outbox_append(&mut tx, &events, now).await?;
    }
    tx.commit().await?;
    Ok(events.keys.len())
}

/// Of one organization.
#[derive(Default)]
struct Outcomes {
    running: Vec<EndedResume>,
    failed: Vec<EndedResume>,
}

/// The reason is that of the first agent: usually the same one stops them all.
fn outcome_payload(first: &EndedResume, resumes: &[EndedResume]) -> Value {
    let agents = resumes.iter().map(|resume| ListedAgent {
        id: resume.agent.agent_id,
        name: resume.agent_name.clone(),
    });
    let mut payload = payload(agents);
    if let ResumeOutcome::Failed(reason) = &first.outcome {
        payload["reason"] = json!(reason);
    }
    payload
}

fn payload(agents: impl ExactSizeIterator<Item = ListedAgent>) -> Value {
    let agent_count = agents.len();
    let listed: Vec<ListedAgent> = agents.take(MAX_LISTED_AGENTS).collect();
    json!({"agents": listed, "agentCount": agent_count})
}
