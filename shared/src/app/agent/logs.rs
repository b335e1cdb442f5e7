//! What an agent's container wrote. Owns: which container, and how much of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::host_access::Host;
use crate::db;
use crate::domain::agent::NotNow;
use crate::domain::container;
use crate::hosts::{Engine, EngineError, Fleet, HostError};

/// The longest text: a function cannot say more than 6 MB, and JSON makes it longer.
const LONGEST: usize = 2 * 1024 * 1024;
/// What a host may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// What was written.
#[derive(Clone, Debug)]
pub struct Logs {
    /// The lines, each with its time.
    pub text: String,
    /// When they were read.
    pub fetched_at: DateTime<Utc>,
}

/// Which part of it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The last so many lines.
    pub tail: u32,
    /// Nothing older.
    pub since: Option<Since>,
}

/// A time, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// A time.
    At(DateTime<Utc>),
    /// So long before now.
    Ago(chrono::TimeDelta),
}

/// No container of the agent is where its row says, or the row says nothing.
pub(crate) const NO_CONTAINER: NotNow = NotNow("Agent has no container");

/// Reads what the container of one of an organization's agents wrote last.
///
/// # Errors
/// [`RequestError`]; not now where it has no container.
pub async fn agent_logs(
    pool: &PgPool,
    fleet: &Fleet,
    agent: (Uuid, Uuid),
    part: Part,
) -> Result<Logs, RequestError> {
    let mut conn = pool.acquire().await?;
    let placement = db::agents::placement::placement_find(&mut conn, agent).await?;
    let placement = placement.ok_or(RequestError::NO_AGENT)?;
    let node_id = placement
        .node_id
        .filter(|_| placement.container_name.is_some());
    let node_id = node_id.ok_or(NO_CONTAINER)?;
    let node = db::hosts::slots::node_find(&mut conn, &node_id)
        .await?
        .ok_or(NO_CONTAINER)?;
    let fetched_at = db::clock::billing_clock(&mut conn).await?;
    drop(conn);
    let name = container::name(agent.1);
    let read = async {
        let host = Host::open(pool, fleet, node).await?;
        match read(&host.engine, &name, part, fetched_at).await {
            Ok(text) => Ok(text),
            Err(EngineError::NotFound) => Err(NO_CONTAINER.into()),
            Err(error) => Err(RequestError::Away(error.to_string())),
        }
    };
    let late = |_| Err(HostError::TimedOut.into());
    let text = timeout(WITHIN, read).await.unwrap_or_else(late)?;
    Ok(Logs { text, fetched_at })
}

/// Reads a part of what a container wrote, by its id or name.
pub(crate) async fn read(
    engine: &Engine,
    container: &str,
    part: Part,
    now: DateTime<Utc>,
) -> Result<String, EngineError> {
    let since = part.since.map(|since| match since {
        Since::At(at) => at,
        Since::Ago(ago) => now - ago,
    });
    let since = since.map_or(0, |at| {
        i32::try_from(at.timestamp().max(0)).unwrap_or(i32::MAX)
    });
    engine.logs(container, part.tail, since, LONGEST).await
}
