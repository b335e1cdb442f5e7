//! An agent's own database in `milady_sandboxes`. Owns: its status. Does not own: its address (`secrets`), and making the
//! database (`agent_databases`).

use crate::db::session::Connection;
use crate::domain::ids::AgentRef;

/// Records, before the database is made, that the agent may have one.
pub async fn database_begin(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET database_status = 'provisioning', database_error = NULL
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that the agent's database is ready. `neon_project_id` is `None` for a database that is not at Neon.
pub async fn database_ready(
    conn: &mut Connection,
    agent: AgentRef,
    neon_project_id: Option<&str>,
) -> sqlx::Result<()> {
    database_finish(conn, agent, neon_project_id, None).await
}

/// Records why the agent's database could not be made.
pub async fn database_failed(
    conn: &mut Connection,
    agent: AgentRef,
    error: &str,
) -> sqlx::Result<()> {
    database_finish(conn, agent, None, Some(error)).await
}

async fn database_finish(
    conn: &mut Connection,
    agent: AgentRef,
    neon_project_id: Option<&str>,
    error: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET
            database_status = CASE WHEN $4::text IS NULL THEN 'ready' ELSE 'error' END,
            database_error = $4, neon_project_id = coalesce($3, neon_project_id)
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        neon_project_id,
        error
    )
    .execute(conn)
    .await?;
    Ok(())
}
