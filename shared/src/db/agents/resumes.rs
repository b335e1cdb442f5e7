//! Agents that billing stopped and that a top-up starts again. Owns: which of them are due, and of which starts the
//! owner has not been told. Does not own: starting them (`app::agent::automatic_resume`).

use chrono::{DateTime, Utc};

use crate::db::jobs::queue::SUPERSEDED_BY_A_STOP;
use crate::db::session::Connection;
use crate::domain::agent::StopReason;
use crate::domain::ids::{AgentId, AgentRef, JobId, OrganizationId};
use crate::domain::job::JobKind;

/// How many agents one sweep looks at.
#[derive(Clone, Copy, Debug)]
pub struct ResumeLimits {
    pub agents: i64,
    pub agents_per_organization: i64,
}

/// The agents that billing stopped and that may be started again, if their organization is active and wants it: no
/// attempt was made yet, or the balance has risen since the last one, or it was made long enough ago. The organizations
/// take turns. Within each, exempt agents come first, because they take nothing from the others, and then those that
/// stopped first. Agents whose stop is under way are left out until it has ended.
pub async fn resumable_agents_of_any_organization(
    conn: &mut Connection,
    limits: ResumeLimits,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<AgentRef>> {
    sql!(query_as!(
        AgentRef,
        r#"SELECT id AS "agent_id!: AgentId", organization_id AS "organization_id!: OrganizationId"
        FROM (
            SELECT a.id, a.organization_id, row_number() OVER (PARTITION BY a.organization_id
                ORDER BY a.billing_status <> 'exempt', stopped.at NULLS FIRST, a.created_at, a.id) AS place
            FROM public.milady_sandboxes a
            JOIN public.organizations o ON o.id = a.organization_id
            LEFT JOIN cloud.organization_settings s ON s.organization_id = a.organization_id
            LEFT JOIN cloud.resume_attempts r ON r.agent_id = a.id
            LEFT JOIN LATERAL (
                SELECT max(u.ended_at) AS at FROM cloud.usage_spans u
                WHERE u.agent_id = a.id AND u.kind = 'running'
            ) AS stopped ON true
            WHERE a.stop_reason = 'billing' AND a.status IN ('running', 'stopped', 'error')
                AND o.is_active AND coalesce(s.automatic_resume, true)
                AND (r.agent_id IS NULL OR r.due_at <= $1 OR o.credit_balance > r.lowest_balance)
                AND NOT EXISTS (
                    SELECT FROM public.jobs j
                    WHERE j.organization_id = a.organization_id AND j.status IN "#
            + ACTIVE_STATUSES
            + " AND j.type = ANY($2) AND j.type"
            + HAS_KIND_PREFIX
            + " AND "
            + JOB_IS_FOR_AGENT
            + " AND NOT (a.status = 'running' AND j.type = $3 AND j.status = 'pending' AND j.attempts = 0))
        ) AS due
        WHERE place <= $4 ORDER BY place, organization_id LIMIT $5",
        now,
        &JobKind::names() as &[&str],
        JobKind::Suspend.as_str(),
        limits.agents_per_organization,
        limits.agents
    ))
    .fetch_all(conn)
    .await
}

/// Records an attempt to start one agent again, or all that billing stopped: none is made before `due_at`, unless the
/// balance rises. The caller holds the organization's lock, so that no top-up comes between the attempt and its record.
pub async fn resume_attempt_record(
    conn: &mut Connection,
    organization_id: OrganizationId,
    agent: Option<AgentId>,
    due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.resume_attempts (agent_id, organization_id, lowest_balance, due_at)
        SELECT a.id, o.id, o.credit_balance, $3
        FROM public.milady_sandboxes a JOIN public.organizations o ON o.id = a.organization_id
        WHERE o.id = $1 AND a.stop_reason = $4 AND ($2::uuid IS NULL OR a.id = $2)
        ORDER BY a.id
        ON CONFLICT (agent_id) DO UPDATE SET organization_id = excluded.organization_id,
            lowest_balance = excluded.lowest_balance, due_at = excluded.due_at",
        organization_id.uuid(),
        agent.map(AgentId::uuid),
        due_at,
        StopReason::Billing.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether the balance has risen since the last attempt to start this agent again.
pub async fn is_topped_up(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
            SELECT FROM cloud.resume_attempts r JOIN public.organizations o ON o.id = r.organization_id
            WHERE r.organization_id = $1 AND r.agent_id = $2 AND o.credit_balance > r.lowest_balance) AS "is!""#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_one(conn)
    .await
}

#[derive(Clone, Debug)]
pub struct StoppedAgent {
    pub agent_id: AgentId,
    pub agent_name: Option<String>,
}

/// The agents of an organization that billing stopped and that no job starts, the oldest first, at most a thousand.
pub async fn agents_stopped_by_billing(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Vec<StoppedAgent>> {
    sql!(query_as!(
        StoppedAgent,
        "SELECT a.id AS agent_id, a.agent_name FROM public.milady_sandboxes a
        WHERE a.organization_id = $1 AND a.stop_reason = $2 AND NOT EXISTS (
            SELECT FROM public.jobs j WHERE j.organization_id = $1 AND j.agent_id = a.id AND j.class = 'start'
                AND j.status IN "
            + ACTIVE_STATUSES
            + ")
        ORDER BY a.created_at, a.id LIMIT 1000",
        organization_id.uuid(),
        StopReason::Billing.as_str()
    ))
    .fetch_all(conn)
    .await
}

/// Records balances that have fallen, so that a later top-up is seen although the balance was once higher.
pub async fn lowest_balances_record_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH fallen AS (
            SELECT r.agent_id, o.credit_balance FROM cloud.resume_attempts r
            JOIN public.organizations o ON o.id = r.organization_id
            WHERE o.credit_balance < r.lowest_balance ORDER BY r.agent_id FOR UPDATE OF r SKIP LOCKED
        )
        UPDATE cloud.resume_attempts r SET lowest_balance = f.credit_balance
        FROM fallen f WHERE f.agent_id = r.agent_id"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the attempts of agents that billing does not keep from running any more.
pub async fn resume_attempts_delete_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.resume_attempts WHERE agent_id IN (
            SELECT r.agent_id FROM cloud.resume_attempts r
            WHERE NOT EXISTS (
                SELECT FROM public.milady_sandboxes a WHERE a.id = r.agent_id AND a.stop_reason = 'billing')
            ORDER BY r.agent_id FOR UPDATE OF r SKIP LOCKED)"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that an agent is started again, by this job, or keeps running if there is none: its owner is to be told.
pub async fn resume_notice_insert(
    conn: &mut Connection,
    agent: AgentRef,
    job_id: Option<JobId>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.resume_notices (organization_id, agent_id, job_id) VALUES ($1, $2, $3)",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        job_id.map(JobId::uuid)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An agent whose start has ended, or that kept running.
#[derive(Clone, Debug)]
pub struct EndedResume {
    pub id: i64,
    pub agent: AgentRef,
    pub agent_name: Option<String>,
    pub outcome: ResumeOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeOutcome {
    Running,
    /// The start failed, with the error that its job shows.
    Failed(Option<String>),
    /// The agent or its job is deleted, or a stop took its place: nobody expects the agent to run.
    Gone,
}

/// Takes the notices of the organizations of which no agent is being started again any more, the oldest first. The
/// caller tells the owners in the same transaction. Another sweep waits for it, and then finds none of them.
pub async fn resume_notices_take_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<EndedResume>> {
    let rows = sql!(query!(
        r#"WITH ended AS (
            SELECT n.id FROM cloud.resume_notices n
            WHERE NOT EXISTS (
                SELECT FROM cloud.resume_notices other JOIN public.jobs j ON j.id = other.job_id
                WHERE other.organization_id = n.organization_id AND j.status IN "#
            + ACTIVE_STATUSES
            + r#")
            ORDER BY n.id FOR UPDATE OF n
        )
        DELETE FROM cloud.resume_notices n USING ended WHERE n.id = ended.id
        RETURNING n.id, n.organization_id, n.agent_id,
            EXISTS (SELECT FROM public.milady_sandboxes a
                WHERE a.organization_id = n.organization_id AND a.id = n.agent_id) AS "agent_exists!",
            (SELECT a.agent_name FROM public.milady_sandboxes a WHERE a.id = n.agent_id) AS "agent_name?",
            CASE WHEN n.job_id IS NULL THEN 'completed' ELSE
                (SELECT j.status FROM public.jobs j WHERE j.id = n.job_id) END AS "job_status?",
            (SELECT j.error FROM public.jobs j WHERE j.id = n.job_id) AS "error?""#
    ))
    .fetch_all(conn)
    .await?;
    let mut ended: Vec<EndedResume> = rows
        .into_iter()
        .map(|row| EndedResume {
            id: row.id,
            agent: AgentRef {
                organization_id: row.organization_id,
                agent_id: row.agent_id,
            },
            agent_name: row.agent_name,
            outcome: match row.job_status.as_deref() {
                Some("completed") if row.agent_exists => ResumeOutcome::Running,
                Some(_)
                    if row.agent_exists && row.error.as_deref() != Some(SUPERSEDED_BY_A_STOP) =>
                {
                    ResumeOutcome::Failed(row.error)
                }
                _ => ResumeOutcome::Gone,
            },
        })
        .collect();
    ended.sort_by_key(|resume| resume.id);
    Ok(ended)
}
