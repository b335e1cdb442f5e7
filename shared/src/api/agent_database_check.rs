//! The check of agents' databases, every hour. It takes no input. It only reports: Postgres has no way to make a database
//! read-only against the will of its owner, and closing it would stop an agent that might only need more room.

use serde::Serialize;
use tracing::warn;

use crate::agent_databases::{AgentDatabases, DatabaseError, DatabaseSize};
use crate::metrics;

#[derive(Debug)]
pub struct Deps {
    pub databases: AgentDatabases,
    /// The size from which a database is too large.
    pub max_bytes: u64,
}

/// Counts only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    measured: usize,
    /// Also those that cannot be measured: an agent can revoke the right to measure its database.
    too_large: usize,
}

/// Neon limits the size of its projects itself, so there only databases on our server are measured.
pub async fn handle(deps: &Deps) -> Result<CheckResult, DatabaseError> {
    let AgentDatabases::Server(server) = &deps.databases else {
        return Ok(CheckResult {
            measured: 0,
            too_large: 0,
        });
    };
    let databases = server.measure().await?;
    let mut too_large = 0;
    for size in &databases.sizes {
        if size.bytes.is_none_or(|bytes| bytes >= deps.max_bytes) {
            report(size, deps.max_bytes);
            too_large += 1;
        }
    }
    metrics::count_too_large_databases(too_large, databases.measured_at);
    Ok(CheckResult {
        measured: databases.sizes.len(),
        too_large,
    })
}

fn report(size: &DatabaseSize, max_bytes: u64) {
    let agent_id = size.agent_id;
    if let Some(bytes) = size.bytes {
        warn!(
            agent.id = %agent_id,
            database.bytes = bytes,
            database.max_bytes = max_bytes,
            "the database of agent {agent_id} is too large"
        );
    } else {
        warn!(
            agent.id = %agent_id,
            "the database of agent {agent_id} cannot be measured: its owner revoked our right to connect"
        );
    }
}
