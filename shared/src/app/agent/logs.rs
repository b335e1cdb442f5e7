//! The log of an agent's container. Owns: which container that is, and how much of its log is read.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::timeout;

use crate::app::error::RequestError;
use crate::app::host_access::Host;
use crate::app::open_stream::OpenStream;
use crate::db;
use crate::db::Database;
use crate::domain::agent::StatusConflict;
use crate::domain::container;
use crate::domain::fleet::HostReadError;
use crate::domain::ids::AgentRef;
use crate::domain::payload::{MAX_PAYLOAD_BYTES, last_lines};
use crate::hosts::{Engine, EngineError, EngineErrorReason, HostClient};

/// How much of a log is read. What does not fit into a response is left out afterwards: escaping and replacing what is
/// not UTF-8 can make a text several times longer.
const MAX_LOG_BYTES: usize = 2 * 1024 * 1024;
/// How long connecting to the host and reading the log may take together.
const LOG_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Logs {
    /// The lines, each with its time.
    pub text: String,
    pub fetched_at: DateTime<Utc>,
}

/// Which part of a log is read.
#[derive(Clone, Copy, Debug)]
pub struct LogPart {
    /// The number of lines at the end of the log.
    pub tail: u32,
    /// Excludes older lines.
    pub since: Option<Since>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    At(DateTime<Utc>),
    /// This long before now.
    Ago(TimeDelta),
}

/// The agent's row names no container, or the container is not on the host that the row names.
pub(crate) const NO_CONTAINER: StatusConflict = StatusConflict("Agent has no container");

/// Reads the log of an agent's container. Meanwhile the request counts as an open stream: a host may answer slowly.
///
/// # Errors
/// [`RequestError::StatusConflict`] if there is no container, [`RequestError::LimitReached`] if too many streams are open.
pub async fn agent_logs(
    pool: &Database,
    hosts: &HostClient,
    agent: AgentRef,
    part: LogPart,
) -> Result<Logs, RequestError> {
    let mut conn = pool.statements();
    let record = db::agents::placement::runtime_record_find(&mut conn, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let node_id = record
        .node_id
        .filter(|_| record.container_name.is_some())
        .ok_or(NO_CONTAINER)?;
    let node = db::hosts::coordinates::host_find(&mut conn, &node_id)
        .await?
        .ok_or(NO_CONTAINER)?;
    let fetched_at = db::clock::billing_clock(&mut conn).await?;
    // A small pool: nothing holds a connection while it waits for a host.
    drop(conn);
    let read = async {
        let host = Host::open(pool, hosts, node).await?;
        let name = container::name(agent.agent_id);
        let text = read_log(&host.engine, &name, part, fetched_at).await;
        text.map_err(read_error)
    };
    let read = Box::pin(limit_time(read));
    let text = OpenStream::during(pool, agent.organization_id, LOG_TIMEOUT, read).await?;
    Ok(Logs { text, fetched_at })
}

/// Ends a read with an error when [`LOG_TIMEOUT`] is over.
pub(crate) async fn limit_time(
    read: impl Future<Output = Result<String, RequestError>>,
) -> Result<String, RequestError> {
    timeout(LOG_TIMEOUT, read)
        .await
        .unwrap_or_else(|_| Err(HostReadError::TimedOut.into()))
}

/// Reads a part of a container's log. `container` is an id or a name; `now` is what [`Since::Ago`] counts from.
pub(crate) async fn read_log(
    engine: &Engine,
    container: &str,
    part: LogPart,
    now: DateTime<Utc>,
) -> Result<String, EngineError> {
    let since = part.since.map(|since| match since {
        Since::At(at) => at,
        Since::Ago(ago) => now - ago,
    });
    let since_seconds = since.map_or(0, |at| {
        i32::try_from(at.timestamp().max(0)).unwrap_or(i32::MAX)
    });
    let text = engine.read_logs(container, part.tail, since_seconds, MAX_LOG_BYTES);
    Ok(last_lines(&text.await?, MAX_PAYLOAD_BYTES).to_owned())
}

/// What a failure to read the log of an agent's container means for the request.
pub(crate) fn read_error(error: EngineError) -> RequestError {
    match error.reason() {
        EngineErrorReason::NotFound => NO_CONTAINER.into(),
        _ => RequestError::HostUnavailable(error),
    }
}
