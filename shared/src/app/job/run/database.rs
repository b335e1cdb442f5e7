//! An agent's own database: created before its first start, removed with the agent. Owns: that its address is in the
//! agent's row before it is created, so that no created database is ever forgotten.

use tracing::warn;

use super::context::JobContext;
use super::error::StepError;
use crate::agent_databases::{AgentDatabases, DatabaseError, DatabaseErrorReason, Neon, Server};
use crate::db;
use crate::db::agents::environment::NeonProject;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::ids::AgentId;
use crate::domain::job::StepName;

/// Makes sure that the agent has a database. Returns its address.
pub(super) async fn ensure(
    context: &mut JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<Option<String>, StepError> {
    if record.database_status == "ready" && record.database_uri.is_some() {
        return Ok(record.database_uri.clone());
    }
    context.start_step(StepName::Database).await?;
    let created = match &context.hosts.databases {
        AgentDatabases::NotConfigured => Err(not_configured()),
        AgentDatabases::Server(server) => ensure_on_server(context, server, record).await,
        AgentDatabases::Neon(neon) => ensure_at_neon(context, neon, record).await,
    };
    if let Err(error @ StepError::Failure(_)) = &created {
        let mut conn = context.pool.statements();
        let text = error.to_string();
        db::agents::environment::database_failed(&mut conn, context.agent(), &text).await?;
    }
    let uri = created?;
    context.finish_step(StepName::Database).await?;
    Ok(Some(uri))
}

async fn ensure_on_server(
    context: &JobContext<'_>,
    server: &Server,
    record: &RuntimeRecord,
) -> Result<String, StepError> {
    let password = context.random_secret()?;
    let recorded = record.database_uri.as_deref();
    // An address that an earlier attempt recorded keeps its password, because the role was created with that one. The
    // server may have another host name by now.
    let updated = recorded.and_then(|uri| server.uri_on_this_server(context.agent_id, uri));
    let uri = updated.unwrap_or_else(|| server.uri(context.agent_id, &password));
    let mut conn = context.pool.statements();
    let agent = context.agent();
    let uri =
        db::agents::environment::database_begin(&mut conn, agent, recorded, Some(&uri)).await?;
    let uri = uri.ok_or_else(|| DatabaseError::new(DatabaseErrorReason::Protocol))?;
    let control_plane = if server.allows_control_plane() {
        None
    } else {
        Some(db::clock::server_start(&mut conn).await?)
    };
    drop(conn);
    let creation = server.ensure(&uri, control_plane);
    context.with_heartbeat(creation).await??;
    let mut conn = context.pool.statements();
    db::agents::environment::database_ready(&mut conn, agent, None).await?;
    Ok(uri)
}

async fn ensure_at_neon(
    context: &JobContext<'_>,
    neon: &Neon,
    record: &RuntimeRecord,
) -> Result<String, StepError> {
    let recorded = record.database_uri.as_deref();
    let agent = context.agent();
    let mut conn = context.pool.statements();
    db::agents::environment::database_begin(&mut conn, agent, recorded, None).await?;
    drop(conn);
    let project = context
        .with_heartbeat(neon.ensure(context.agent_id))
        .await??;
    let created = NeonProject {
        id: &project.project_id,
        uri: &project.uri,
    };
    let mut conn = context.pool.statements();
    db::agents::environment::database_ready(&mut conn, agent, Some(created)).await?;
    Ok(project.uri)
}

/// Removes the agent's database. A database that this product did not create stays.
pub(super) async fn remove(
    context: &mut JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<(), StepError> {
    if record.database_status == "none"
        && record.database_uri.is_none()
        && record.neon_project_id.is_none()
    {
        return Ok(());
    }
    context.start_step(StepName::Database).await?;
    if is_foreign(context, record) {
        warn!(
            agent.id = %context.agent_id,
            "the database of agent {} was not created by this product; it is not dropped",
            context.agent_id
        );
        return context.finish_step(StepName::Database).await;
    }
    let project_id = record.neon_project_id.as_deref();
    let removal = remove_own(&context.hosts.databases, context.agent_id, project_id);
    context.with_heartbeat(removal).await??;
    context.finish_step(StepName::Database).await
}

/// Removes a database that this product created.
pub(super) async fn remove_own(
    databases: &AgentDatabases,
    agent_id: AgentId,
    project_id: Option<&str>,
) -> Result<(), StepError> {
    match databases {
        AgentDatabases::Neon(neon) => neon.delete(agent_id, project_id).await?,
        AgentDatabases::Server(server) if project_id.is_none() => server.delete(agent_id).await?,
        AgentDatabases::Server(_) | AgentDatabases::NotConfigured => {
            if project_id.is_some() {
                return Err(not_configured());
            }
            warn!(
                agent.id = %agent_id,
                "the database of agent {agent_id} is not dropped: no database service is configured"
            );
        }
    }
    Ok(())
}

/// Whether the recorded database does not have the name that this product gives an agent's database.
fn is_foreign(context: &JobContext<'_>, record: &RuntimeRecord) -> bool {
    let name = format!("agent_{}", context.agent_id.uuid().simple());
    let uri = record.database_uri.as_deref();
    record.neon_project_id.is_none() && uri.is_some_and(|uri| !uri.contains(&name))
}

pub(super) fn not_configured() -> StepError {
    DatabaseError::new(DatabaseErrorReason::NotConfigured).into()
}
