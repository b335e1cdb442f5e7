//! What an agent's container is started with. Owns: the environment that is the same at every start, and the agent's
//! own database in `milady_sandboxes`. Does not own: making that database (`agent_databases`).

use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::ids::AgentRef;

/// Adds those variables that the agent's environment lacks or that are empty in it, and returns the whole environment.
pub async fn environment_add_missing(
    conn: &mut Connection,
    agent: AgentRef,
    variables: &Value,
) -> sqlx::Result<Value> {
    sqlx::query_scalar!(
        "UPDATE public.milady_sandboxes SET environment_vars = $3 || (environment_vars - coalesce((
            SELECT array_agg(name) FROM jsonb_object_keys($3) AS name
            WHERE coalesce(environment_vars ->> name, '') = ''), '{}'))
        WHERE organization_id = $1 AND id = $2 RETURNING environment_vars",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        variables
    )
    .fetch_one(conn)
    .await
}

/// Records, before the database is made, that the agent may have one. The address becomes `uri` unless it is no
/// longer `expected_uri`. Returns the address that is recorded then.
pub async fn database_begin(
    conn: &mut Connection,
    agent: AgentRef,
    expected_uri: Option<&str>,
    uri: Option<&str>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "UPDATE public.milady_sandboxes SET database_status = 'provisioning', database_error = NULL,
            database_uri = CASE WHEN database_uri IS NOT DISTINCT FROM $3
                THEN coalesce($4, database_uri) ELSE database_uri END
        WHERE organization_id = $1 AND id = $2 RETURNING database_uri",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        expected_uri,
        uri
    )
    .fetch_one(conn)
    .await
}

#[derive(Clone, Copy, Debug)]
pub struct NeonProject<'a> {
    pub id: &'a str,
    /// The address of the project's database.
    pub uri: &'a str,
}

/// Records that the agent's database is ready. `project` is `None` for a database that is not at Neon.
pub async fn database_ready(
    conn: &mut Connection,
    agent: AgentRef,
    project: Option<NeonProject<'_>>,
) -> sqlx::Result<()> {
    database_finish(conn, agent, project, None).await
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
    project: Option<NeonProject<'_>>,
    error: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET
            database_status = CASE WHEN $5::text IS NULL THEN 'ready' ELSE 'error' END,
            database_error = $5, neon_project_id = coalesce($3, neon_project_id),
            database_uri = coalesce($4, database_uri)
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        project.map(|project| project.id),
        project.map(|project| project.uri),
        error
    )
    .execute(conn)
    .await?;
    Ok(())
}
