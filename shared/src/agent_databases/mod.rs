//! An agent's own database. Owns: its name, and creating, measuring and removing it, on one of our Postgres servers or
//! as a Neon project. Does not own: where its address is recorded, and when it is created.
//!
//! Every call can be repeated after a crash at any line or a lost response. [`Neon::ensure`] must not run concurrently
//! for one agent.

mod neon;
mod server;

pub use neon::{BASE_URL, Neon, NeonProject};
pub use server::{DatabaseSize, MeasuredDatabases, Server};

use crate::domain::ids::AgentId;
use crate::failure::Failure;

/// Where agents' databases are created.
#[derive(Debug)]
pub enum AgentDatabases {
    Server(Server),
    /// One project per agent.
    Neon(Neon),
    /// No service is configured: agents that need a database cannot start.
    NotConfigured,
}

pub type DatabaseError = Failure<DatabaseErrorReason>;

/// Why a call failed. The texts are shown to the agent's owner: they hold no address, no name and no text of
/// a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DatabaseErrorReason {
    /// No service is configured, or the database is on another service than the configured one.
    #[error("No database service is configured")]
    NotConfigured,
    /// The configured server is the control plane's own, where an agent could reach or exhaust what everything else
    /// depends on.
    #[error("The database service is not set up for agents")]
    ControlPlaneServer,
    /// Nothing listens there, or the response was lost.
    #[error("The database service cannot be reached")]
    Unreachable,
    /// The work may have been done all the same.
    #[error("The database service did not answer in time")]
    TimedOut,
    /// The service is overloaded or broken. A later try can succeed.
    #[error("The database service is not available at the moment")]
    Unavailable,
    /// The service rejects our credentials or does not grant us the right.
    #[error("The database service refused to do this")]
    Refused,
    #[error("The database service answered something that is not understood")]
    Protocol,
}

impl AgentDatabases {
    /// Removes an agent's database and its role or project. A database that does not exist is no error.
    /// `project_id` is what [`Neon::ensure`] returned, if it was recorded.
    pub async fn delete(
        &self,
        agent_id: AgentId,
        project_id: Option<&str>,
    ) -> Result<(), DatabaseError> {
        match self {
            Self::Server(server) => server.delete(agent_id).await,
            Self::Neon(neon) => neon.delete(agent_id, project_id).await,
            Self::NotConfigured => Err(DatabaseErrorReason::NotConfigured.into()),
        }
    }
}
