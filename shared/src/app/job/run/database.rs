//! An agent's own database: created before its first start, removed with the agent. Owns: that its address is recorded
//! before it is created, so that no created database is ever forgotten, and that it has a new password after the loss of
//! the agent's host.

use tracing::warn;

use super::context::JobContext;
use super::error::StepError;
use crate::agent_databases::{AgentDatabases, DatabaseError, DatabaseErrorReason, Neon, Server};
use crate::app::stored_secrets::{database_address_location, names_own_database};
use crate::db;
use crate::db::Connection;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::ids::AgentId;
use crate::domain::job::StepName;

/// Makes sure that the agent has a database. Returns its address.
pub(super) async fn ensure(
    context: &mut JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<Option<String>, StepError> {
    let recorded = recorded_address(context, record)?;
    let is_ready = record.database_status == "ready" && recorded.is_some();
    let rotates = must_rotate(context, record, is_ready).await?;
    if is_ready && !rotates {
        return Ok(recorded);
    }
    context.start_step(StepName::Database).await?;
    let created = match &context.hosts.databases {
        AgentDatabases::NotConfigured => Err(not_configured()),
        AgentDatabases::Server(server) => ensure_on_server(context, server, rotates).await,
        AgentDatabases::Neon(neon) => ensure_at_neon(context, neon, rotates).await,
    };
    if let Err(error @ StepError::Failure(_)) = &created {
        let mut conn = context.pool.statements();
        let text = error.to_string();
        db::agents::database::database_failed(&mut conn, context.agent(), &text).await?;
    }
    let uri = created?;
    context.finish_step(StepName::Database).await?;
    Ok(Some(uri))
}

/// Whether the database needs a new password, because a copy of the agent on a lost host may know the present one. A
/// database that this product did not create keeps its password.
async fn must_rotate(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
    is_ready: bool,
) -> Result<bool, StepError> {
    let mut conn = context.pool.statements();
    let known = db::agents::losses::known_secrets_find(&mut conn, context.agent()).await?;
    if !known.is_some_and(|known| known.has_database) {
        return Ok(false);
    }
    let is_foreign = is_ready && is_foreign(context, record);
    if is_foreign {
        warn!(
            agent.id = %context.agent_id,
            "the database of agent {} was not created by this product; it keeps its password after the loss of the \
            agent's host",
            context.agent_id
        );
    }
    Ok(!is_foreign)
}

/// The address of the agent's database, if one is recorded.
fn recorded_address(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<Option<String>, StepError> {
    let Some(address) = record.database_address() else {
        return Ok(record.database_uri.clone());
    };
    let location = database_address_location(context.agent_id);
    Ok(Some(context.hosts.keys.decrypt(&address, &location)?))
}

async fn record_address(
    context: &JobContext<'_>,
    conn: &mut Connection,
    uri: &str,
) -> Result<(), StepError> {
    let location = database_address_location(context.agent_id);
    let address = context.hosts.keys.encrypt(uri, &location)?;
    let agent = context.agent();
    db::agents::secrets::database_address_set(conn, agent, &address, true).await?;
    Ok(())
}

async fn ensure_on_server(
    context: &JobContext<'_>,
    server: &Server,
    rotates: bool,
) -> Result<String, StepError> {
    let uri = choose_address(context, server, rotates).await?;
    let mut conn = context.pool.statements();
    let control_plane = if server.allows_control_plane() {
        None
    } else {
        Some(db::clock::server_start(&mut conn).await?)
    };
    drop(conn);
    let creation = server.ensure(&uri, control_plane);
    context.with_heartbeat(creation).await??;
    if rotates {
        // A session outlives the password that it began with.
        let end = server.end_sessions(context.agent_id);
        context.with_heartbeat(end).await??;
    }
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    db::agents::database::database_ready(&mut tx, agent, None).await?;
    if rotates {
        db::agents::losses::database_rotated_set(&mut tx, agent).await?;
    }
    tx.commit().await?;
    Ok(uri)
}

/// Records the address that the database will have, and returns it. Under the agent's lock, so that no other worker
/// chooses another password.
async fn choose_address(
    context: &JobContext<'_>,
    server: &Server,
    rotates: bool,
) -> Result<String, StepError> {
    let password = context.random_secret()?;
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    locked.ok_or(StepError::Lost)?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
    let record = record.ok_or(StepError::Lost)?;
    let recorded = recorded_address(context, &record)?;
    // An address that an earlier attempt recorded keeps its password, because the role was created with that one. The
    // server may have another host name by now.
    let kept = recorded.as_deref().filter(|_| !rotates);
    let updated = kept.and_then(|uri| server.uri_on_this_server(context.agent_id, uri));
    let uri = updated.unwrap_or_else(|| server.uri(context.agent_id, &password));
    if record.database_address().is_none() || recorded.as_deref() != Some(uri.as_str()) {
        record_address(context, &mut tx, &uri).await?;
    }
    db::agents::database::database_begin(&mut tx, agent).await?;
    tx.commit().await?;
    Ok(uri)
}

async fn ensure_at_neon(
    context: &JobContext<'_>,
    neon: &Neon,
    rotates: bool,
) -> Result<String, StepError> {
    let agent = context.agent();
    let mut conn = context.pool.statements();
    db::agents::database::database_begin(&mut conn, agent).await?;
    drop(conn);
    let mut project = context
        .with_heartbeat(neon.ensure(context.agent_id))
        .await??;
    if rotates {
        let reset = neon.reset_password(&project.project_id);
        project = context.with_heartbeat(reset).await??;
    }
    let mut tx = context.pool.begin().await?;
    let project_id = Some(project.project_id.as_str());
    db::agents::database::database_ready(&mut tx, agent, project_id).await?;
    record_address(context, &mut tx, &project.uri).await?;
    if rotates {
        db::agents::losses::database_rotated_set(&mut tx, agent).await?;
    }
    tx.commit().await?;
    Ok(project.uri)
}

/// Removes the agent's database. A database that this product did not create stays.
pub(super) async fn remove(
    context: &mut JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<(), StepError> {
    if record.database_status == "none"
        && record.database_uri.is_none()
        && record.has_own_database.is_none()
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

/// Whether the recorded database is not one that this product created.
fn is_foreign(context: &JobContext<'_>, record: &RuntimeRecord) -> bool {
    if record.neon_project_id.is_some() {
        return false;
    }
    match (record.has_own_database, &record.database_uri) {
        (Some(is_own), _) => !is_own,
        (None, Some(uri)) => !names_own_database(context.agent_id, uri),
        (None, None) => false,
    }
}

pub(super) fn not_configured() -> StepError {
    DatabaseError::new(DatabaseErrorReason::NotConfigured).into()
}
