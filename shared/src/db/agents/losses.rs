//! `cloud.lost_agents`, and what the loss of a host changes about its agents. Owns: that an agent's next start makes new
//! secrets. Does not own: which hosts are lost (`hosts::withdrawals`).

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::agent::{AgentStatus, StopReason};
use crate::domain::ids::{AgentId, AgentRef};
use crate::domain::job::JobClass;

/// The agents of a lost host that are not freed yet: those that have, or may have, a container there, and those whose
/// unsaved state is there.
pub async fn agents_to_free_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<Vec<AgentRef>> {
    let rows = sqlx::query!(
        "SELECT id, organization_id FROM public.milady_sandboxes
        WHERE node_id = $1 AND status IN ('pending', 'provisioning', 'running', 'stopped', 'disconnected', 'error')
            AND (status IN ('running', 'disconnected', 'provisioning') OR container_name IS NOT NULL
                OR unsaved_since IS NOT NULL)
        ORDER BY id",
        node_id
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| AgentRef {
        organization_id: row.organization_id,
        agent_id: row.id,
    });
    Ok(agents.collect())
}

/// When the agent's state was last saved.
pub async fn last_backup_at_find(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let last_backup_at = sqlx::query_scalar!(
        "SELECT max(b.created_at) FROM public.milady_sandbox_backups b
        JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_one(conn)
    .await?;
    Ok(last_backup_at)
}

/// Records that an agent lost what it had on its host. A reason that the agent was stopped for stays, and so does what is
/// known of its state there: if the host returns, a volume with state that no backup holds is neither removed nor forgotten.
/// An agent that ran has such state also if an earlier version started it, which did not record that.
pub async fn agent_lose_host(
    conn: &mut Connection,
    agent: AgentRef,
    to: AgentStatus,
    text: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET status = $3, error_message = $4, error_count = error_count + 1,
            stop_reason = coalesce(stop_reason, $5), unsaved_since = NULL,
            left_nodes = CASE WHEN unsaved_since IS NOT NULL OR status IN ('running', 'disconnected')
                THEN array_append(array_remove(left_nodes, node_id), node_id) ELSE left_nodes END,
            updated_at = $6
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        to.as_str(),
        text,
        StopReason::Failure.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that the agent's next start makes new secrets.
pub async fn lost_agent_record(
    conn: &mut Connection,
    agent: AgentRef,
    node_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.lost_agents (agent_id, organization_id, node_id, lost_at) VALUES ($2, $1, $3, $4)
        ON CONFLICT (agent_id) DO UPDATE SET organization_id = excluded.organization_id,
            node_id = excluded.node_id, lost_at = excluded.lost_at, database_rotated = false",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        node_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the stop jobs of an agent that wait for its host due at once.
pub async fn stop_jobs_make_due(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.jobs SET scheduled_for = $3, updated_at = $3
        WHERE organization_id = $1 AND agent_id = $2 AND status = 'pending' AND type = ANY($4)
            AND scheduled_for > $3",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        now.naive_utc(),
        &JobClass::Stop.kind_names() as &[&str]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which secrets of an agent a copy on a lost host may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSecrets {
    /// The password of its database, too.
    pub has_database: bool,
}

/// `None` if there is no such copy. An agent may have been given to another organization since the loss: what counts is whose
/// it is now.
pub async fn known_secrets_find(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<KnownSecrets>> {
    sqlx::query_as!(
        KnownSecrets,
        r#"SELECT NOT l.database_rotated AS "has_database!" FROM cloud.lost_agents l
        JOIN public.milady_sandboxes a ON a.id = l.agent_id
        WHERE a.organization_id = $1 AND a.id = $2"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

pub async fn database_rotated_set(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.lost_agents l SET database_rotated = true FROM public.milady_sandboxes a
        WHERE a.organization_id = $1 AND a.id = $2 AND l.agent_id = a.id",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that all secrets are new. The environment's are the last.
pub async fn lost_agent_delete(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.lost_agents l USING public.milady_sandboxes a
        WHERE a.organization_id = $1 AND a.id = $2 AND l.agent_id = a.id",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the agents that lost what they had on a host, in the order in which everybody locks several agents.
pub async fn lost_agents_lock_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT FROM public.milady_sandboxes a WHERE a.node_id = $1 AND ($1 = ANY(a.left_nodes) OR EXISTS (
            SELECT FROM cloud.lost_agents l WHERE l.agent_id = a.id AND l.node_id = $1))
        ORDER BY a.id FOR NO KEY UPDATE",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records of a host that is back in service that its volumes hold the newest state of the agents that ran there and were not
/// started elsewhere since the loss. The caller has locked them. Returns those agents. A start that failed elsewhere has made
/// new secrets, and so deleted the agent's row in `cloud.lost_agents`; but only a loss makes an agent's own host one of its
/// `left_nodes`. A start that the loss interrupted may have made a volume without a state there: such an agent gets its newest
/// backup.
pub async fn states_return_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
    text: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<AgentId>> {
    sqlx::query_scalar!(
        "UPDATE public.milady_sandboxes a SET unsaved_since = $2, error_message = $3, updated_at = $2,
            left_nodes = array_remove(a.left_nodes, $1)
        WHERE a.node_id = $1 AND a.container_name IS NULL AND a.status IN ('stopped', 'error')
            AND ($1 = ANY(a.left_nodes) OR a.state_node_id = $1 AND EXISTS (
                SELECT FROM cloud.lost_agents l WHERE l.agent_id = a.id AND l.node_id = $1))
        RETURNING a.id",
        node_id,
        now,
        text
    )
    .fetch_all(conn)
    .await
}

/// Locks the agents whose rows say that a host holds something of them, in the order in which everybody locks several agents.
pub async fn agents_of_host_lock_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT FROM public.milady_sandboxes WHERE node_id = $1 OR $1 = ANY(left_nodes)
        ORDER BY id FOR NO KEY UPDATE",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what agents had on a lost host that is removed: another machine may get its name. The caller has locked them.
pub async fn host_forget_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET left_nodes = array_remove(left_nodes, $1),
            data_bind = CASE WHEN node_id = $1 THEN NULL ELSE data_bind END
        WHERE node_id = $1 OR $1 = ANY(left_nodes)",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets agents that were deleted.
pub async fn lost_agents_forget_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.lost_agents l
        WHERE NOT EXISTS (SELECT FROM public.milady_sandboxes a WHERE a.id = l.agent_id)"
    )
    .execute(conn)
    .await?;
    Ok(())
}
