//! `cloud.image_restarts`: the agents that the last roll-out of a new default image restarts. Owns: which restarts are
//! open, what each agent ran before, and which agents are next. Does not own: what the next step of a restart is
//! (`app::agent::image_restarts`), nor the roll-out (`hosts::roll_outs`).

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{AgentId, AgentRef, OrganizationId};
use crate::domain::job::JobKind;
use crate::domain::roll_out::{
    ORGANIZATION_PERCENT, RECENT_RESTARTS, RecentRestarts, RestartOutcome,
};

/// A restart that has not ended.
#[derive(Clone, Debug)]
pub struct OpenRestart {
    /// The default image, and the version that is rolled out.
    pub image: String,
    pub digest: String,
    /// The engine's id of the image that the agent ran before. `None` until its container is about to be stopped.
    pub previous_image: Option<String>,
    pub previous_digest: Option<String>,
    pub start_due_at: DateTime<Utc>,
    /// How many starts it has requested, with either image.
    pub starts: i32,
    /// Whether the new version could not be started, so that the agent is put back.
    pub has_failed: bool,
}

/// The agents with open restarts, the oldest one first.
pub async fn restarts_open_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<AgentRef>> {
    let rows = sqlx::query!(
        "SELECT agent_id, organization_id FROM cloud.image_restarts WHERE done_at IS NULL
        ORDER BY begun_at, agent_id"
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| AgentRef {
        organization_id: row.organization_id,
        agent_id: row.agent_id,
    });
    Ok(agents.collect())
}

/// Locks the agent's open restart, so that a roll-out which is cancelled meanwhile waits. Whoever decides on it holds the
/// agent's lock.
pub async fn restart_find(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<OpenRestart>> {
    sqlx::query_as!(
        OpenRestart,
        r#"SELECT o.image, o.digest, r.previous_image, r.previous_digest, r.start_due_at, r.starts,
            r.outcome IS NOT NULL AS "has_failed!"
        FROM cloud.image_restarts r, cloud.image_roll_outs o
        WHERE r.organization_id = $1 AND r.agent_id = $2 AND r.done_at IS NULL FOR NO KEY UPDATE OF r"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

pub async fn restart_begin(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.image_restarts (agent_id, organization_id, begun_at, start_due_at)
        VALUES ($2, $1, $3, $3) ON CONFLICT (agent_id) DO NOTHING",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records what the agent runs before its container is stopped. Returns `false` if it is not to be restarted any more.
pub async fn restart_leave(
    conn: &mut Connection,
    agent: AgentRef,
    image_id: &str,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE cloud.image_restarts r SET previous_image = $3, previous_digest = a.image_digest
        FROM public.milady_sandboxes a
        WHERE a.organization_id = $1 AND a.id = $2 AND r.organization_id = $1 AND r.agent_id = $2
            AND r.done_at IS NULL AND r.outcome IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        image_id
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Records that the agent's start is requested, and when the next one may be.
pub async fn restart_started(
    conn: &mut Connection,
    agent: AgentRef,
    start_due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.image_restarts SET start_due_at = $3, starts = starts + 1
        WHERE organization_id = $1 AND agent_id = $2 AND done_at IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        start_due_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that the agent could not be started with the new version, for the reason in its row. From now on its starts
/// take the image that it ran before.
pub async fn restart_fail(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.image_restarts r SET outcome = $3, decided_at = $4,
            error = coalesce(a.error_message, 'The agent could not be started')
        FROM public.milady_sandboxes a
        WHERE a.organization_id = $1 AND a.id = $2 AND r.organization_id = $1 AND r.agent_id = $2
            AND r.done_at IS NULL AND r.outcome IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        RestartOutcome::Failed.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends an open restart. One that has failed stays failed, for its first reason.
pub async fn restart_end(
    conn: &mut Connection,
    agent: AgentRef,
    outcome: RestartOutcome,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.image_restarts SET outcome = coalesce(outcome, $3), decided_at = coalesce(decided_at, $5),
            error = CASE WHEN outcome IS NULL THEN $4 ELSE error END, done_at = $5
        WHERE organization_id = $1 AND agent_id = $2 AND done_at IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        outcome.as_str(),
        error,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is rolled out.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// The default image.
    pub image: &'a str,
    pub digest: &'a str,
}

/// The agents that are restarted next, the oldest first: they run another version of the default image on an enabled host,
/// nothing works on them, and no more than their share of an organization is restarted at the same time. A host that is not
/// enabled is being emptied, or may be: its agents would be stopped twice.
pub async fn agents_to_restart_of_any_organization(
    conn: &mut Connection,
    version: Version<'_>,
    limit: i64,
) -> sqlx::Result<Vec<AgentRef>> {
    let rows = sql!(query!(
        "WITH candidates AS (
            SELECT a.id, a.organization_id, a.created_at,
                row_number() OVER (PARTITION BY a.organization_id ORDER BY a.created_at, a.id) AS place
            FROM public.milady_sandboxes a
            WHERE "
            + RUNS_OTHER_VERSION
            + " AND EXISTS (SELECT FROM public.docker_nodes n WHERE n.node_id = a.node_id AND n.enabled)
                AND NOT EXISTS (SELECT FROM cloud.image_restarts r WHERE r.agent_id = a.id)
                AND NOT EXISTS (SELECT FROM cloud.agent_moves m WHERE m.agent_id = a.id AND m.done_at IS NULL)
                AND NOT EXISTS (SELECT FROM public.jobs j
                    WHERE j.organization_id = a.organization_id AND j.status IN "
            + ACTIVE_STATUSES
            + " AND j.type = ANY($5) AND j.type"
            + HAS_KIND_PREFIX
            + " AND "
            + JOB_IS_FOR_AGENT
            + ")
        ), shares AS (
            SELECT organization_id, greatest(1, count(*) * $4::bigint / 100) AS agents
            FROM public.milady_sandboxes WHERE status = 'running' GROUP BY organization_id
        ), under_way AS (
            SELECT organization_id, count(*) AS agents FROM cloud.image_restarts WHERE done_at IS NULL
            GROUP BY organization_id
        )
        SELECT c.id, c.organization_id FROM candidates c
        JOIN shares s ON s.organization_id = c.organization_id
        LEFT JOIN under_way u ON u.organization_id = c.organization_id
        WHERE c.place + coalesce(u.agents, 0) <= s.agents
        ORDER BY c.created_at, c.id LIMIT $3",
        version.image,
        version.digest,
        limit,
        ORGANIZATION_PERCENT,
        &JobKind::names() as &[&str]
    ))
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| AgentRef {
        organization_id: row.organization_id,
        agent_id: row.id,
    });
    Ok(agents.collect())
}

/// How many agents run another version of the default image and are still to be restarted.
pub async fn agents_waiting_of_any_organization(
    conn: &mut Connection,
    version: Version<'_>,
) -> sqlx::Result<i64> {
    sql!(query_scalar!(
        r#"SELECT count(*) AS "count!" FROM public.milady_sandboxes a WHERE "#
            + RUNS_OTHER_VERSION
            + " AND NOT EXISTS (SELECT FROM cloud.image_restarts r WHERE r.agent_id = a.id)",
        version.image,
        version.digest
    ))
    .fetch_one(conn)
    .await
}

/// How many agents run another version of the default image, whatever a roll-out did with them.
pub async fn agents_outdated_of_any_organization(
    conn: &mut Connection,
    version: Version<'_>,
) -> sqlx::Result<i64> {
    sql!(query_scalar!(
        r#"SELECT count(*) AS "count!" FROM public.milady_sandboxes a WHERE "# + RUNS_OTHER_VERSION,
        version.image,
        version.digest
    ))
    .fetch_one(conn)
    .await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartCounts {
    /// Those that have not ended, including those of agents that are being put back.
    pub open: i64,
    /// Those whose outcome is not known yet.
    pub under_way: i64,
    pub restarted: i64,
    pub failed: i64,
    pub skipped: i64,
}

pub async fn restarts_count_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<RestartCounts> {
    sqlx::query_as!(
        RestartCounts,
        r#"SELECT count(*) FILTER (WHERE done_at IS NULL) AS "open!",
            count(*) FILTER (WHERE outcome IS NULL) AS "under_way!",
            count(*) FILTER (WHERE outcome = 'restarted') AS "restarted!",
            count(*) FILTER (WHERE outcome = 'failed') AS "failed!",
            count(*) FILTER (WHERE outcome = 'skipped') AS "skipped!"
        FROM cloud.image_restarts"#
    )
    .fetch_one(conn)
    .await
}

/// The last restarts since `since` that succeeded or failed.
pub async fn restarts_recent_of_any_organization(
    conn: &mut Connection,
    since: DateTime<Utc>,
) -> sqlx::Result<RecentRestarts> {
    sqlx::query_as!(
        RecentRestarts,
        r#"SELECT count(*) AS "decided!", count(*) FILTER (WHERE outcome = 'failed') AS "failed!"
        FROM (SELECT outcome FROM cloud.image_restarts
            WHERE outcome IN ('restarted', 'failed') AND decided_at >= $1
            ORDER BY decided_at DESC LIMIT $2) AS recent"#,
        since,
        RECENT_RESTARTS
    )
    .fetch_one(conn)
    .await
}

/// An agent that does not run the new version.
#[derive(Clone, Debug)]
pub struct UnchangedAgent {
    pub agent_id: AgentId,
    pub organization_id: OrganizationId,
    /// `None` also for an agent that was deleted.
    pub agent_name: Option<String>,
    pub outcome: RestartOutcome,
    pub error: Option<String>,
    /// Whether the agent is being put back.
    pub is_open: bool,
}

/// The agents that failed or were skipped, at most a thousand, those that failed first.
pub async fn agents_unchanged_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<UnchangedAgent>> {
    let rows = sqlx::query!(
        r#"SELECT r.agent_id, r.organization_id, a.agent_name AS "agent_name?", r.outcome = 'failed' AS "has_failed!",
            r.error, r.done_at IS NULL AS "is_open!"
        FROM cloud.image_restarts r LEFT JOIN public.milady_sandboxes a ON a.id = r.agent_id
        WHERE r.outcome IN ('failed', 'skipped')
        ORDER BY r.outcome, r.decided_at, r.agent_id LIMIT 1000"#
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| UnchangedAgent {
        agent_id: row.agent_id,
        organization_id: row.organization_id,
        agent_name: row.agent_name,
        outcome: if row.has_failed {
            RestartOutcome::Failed
        } else {
            RestartOutcome::Skipped
        },
        error: row.error,
        is_open: row.is_open,
    });
    Ok(agents.collect())
}

/// Whether an agent of the host may go back to an image that no container uses meanwhile.
pub async fn any_restart_on_host_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM cloud.image_restarts r
            JOIN public.milady_sandboxes a ON a.organization_id = r.organization_id AND a.id = r.agent_id
            WHERE r.done_at IS NULL AND a.node_id = $1) AS "any!""#,
        node_id
    )
    .fetch_one(conn)
    .await
}

/// Forgets the restarts of a roll-out that is cancelled whose agents have not been stopped yet.
pub async fn restarts_cancel_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.image_restarts WHERE done_at IS NULL AND outcome IS NULL AND previous_image IS NULL"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the restarts of the last roll-out.
pub async fn restarts_delete_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM cloud.image_restarts")
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives the open restarts of agents that belong to another organization now to that one.
pub async fn restarts_transfer_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.image_restarts r SET organization_id = a.organization_id FROM public.milady_sandboxes a
        WHERE a.id = r.agent_id AND a.organization_id <> r.organization_id AND r.done_at IS NULL"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the open restarts of agents that were deleted.
pub async fn restarts_forget_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.image_restarts r WHERE r.done_at IS NULL
            AND NOT EXISTS (SELECT FROM public.milady_sandboxes a WHERE a.id = r.agent_id)"
    )
    .execute(conn)
    .await?;
    Ok(())
}
