//! An agent's own database, before its first start and after its end. Owns: that its address is in the
//! agent's row before it is created, so that nothing created is ever forgotten.

use tracing::warn;

use super::work::Work;
use super::{JobFailure, Stop};
use crate::agent_databases::{DatabaseError, Databases, Neon, Server};
use crate::db;
use crate::db::agents::placement::Placement;

impl From<DatabaseError> for Stop {
    fn from(error: DatabaseError) -> Self {
        JobFailure::Outside(error.to_string()).into()
    }
}

/// Sees to it that the agent has a database. Answers its address.
pub(super) async fn ensure(
    work: &mut Work<'_>,
    placement: &Placement,
) -> Result<Option<String>, Stop> {
    if placement.database_status == "ready" && placement.database_uri.is_some() {
        return Ok(placement.database_uri.clone());
    }
    work.begin("database").await?;
    let made = match &work.hosts.databases {
        Databases::None => Err(DatabaseError::NotConfigured.into()),
        Databases::Server(server) => on_server(work, server, placement).await,
        Databases::Neon(neon) => at_neon(work, neon, placement).await,
    };
    if let Err(Stop::Failure(failure)) = &made {
        let mut conn = work.pool.acquire().await?;
        let text = failure.to_string();
        db::agents::placement::database_end(&mut conn, work.ids(), None, Some(&text)).await?;
    }
    let uri = made?;
    work.done("database").await?;
    Ok(Some(uri))
}

async fn on_server(
    work: &Work<'_>,
    server: &Server,
    placement: &Placement,
) -> Result<String, Stop> {
    let password = (work.hosts.random)().map(hex::encode);
    let password = password.ok_or(DatabaseError::Unreachable)?;
    let known = placement.database_uri.as_deref();
    // An address that an earlier try wrote keeps its password, for what it made has that; the server
    // may have another name by now.
    let moved = known.and_then(|known| server.moved(work.agent_id, known));
    let uri = moved.unwrap_or_else(|| server.uri(work.agent_id, &password));
    let mut conn = work.pool.acquire().await?;
    let uri = db::agents::placement::database_begin(&mut conn, work.ids(), known, Some(&uri)).await?;
    drop(conn);
    let uri = uri.ok_or(DatabaseError::Protocol)?;
    work.patiently(server.ensure(&uri)).await??;
    let mut conn = work.pool.acquire().await?;
    db::agents::placement::database_end(&mut conn, work.ids(), None, None).await?;
    Ok(uri)
}

async fn at_neon(work: &Work<'_>, neon: &Neon, placement: &Placement) -> Result<String, Stop> {
    let known = placement.database_uri.as_deref();
    let mut conn = work.pool.acquire().await?;
    db::agents::placement::database_begin(&mut conn, work.ids(), known, None).await?;
    drop(conn);
    let project = work.patiently(neon.ensure(work.agent_id)).await??;
    let made = Some((project.project_id.as_str(), project.uri.as_str()));
    let mut conn = work.pool.acquire().await?;
    db::agents::placement::database_end(&mut conn, work.ids(), made, None).await?;
    Ok(project.uri)
}

/// Removes what there is of the agent's database. One that an older deployment gave it, and that is not
/// ours to drop, is left, and said.
pub(super) async fn remove(work: &mut Work<'_>, placement: &Placement) -> Result<(), Stop> {
    if placement.database_status == "none"
        && placement.database_uri.is_none()
        && placement.neon_project_id.is_none()
    {
        return Ok(());
    }
    work.begin("database").await?;
    let ours = format!("agent_{}", work.agent_id.simple());
    let known = placement.database_uri.as_deref();
    if placement.neon_project_id.is_none() && known.is_some_and(|uri| !uri.contains(&ours)) {
        warn!(agent.id = %work.agent_id, "an agent's database is not ours to drop: it is left");
        return work.done("database").await;
    }
    match &work.hosts.databases {
        Databases::Neon(neon) => {
            let project = placement.neon_project_id.as_deref();
            work.patiently(neon.drop(work.agent_id, project)).await??;
        }
        Databases::Server(server) if placement.neon_project_id.is_none() => {
            work.patiently(server.drop(work.agent_id)).await??;
        }
        Databases::Server(_) | Databases::None => {
            if placement.neon_project_id.is_some() {
                return Err(DatabaseError::NotConfigured.into());
            }
            warn!(agent.id = %work.agent_id, "an agent's database was left: none is configured");
        }
    }
    work.done("database").await
}
