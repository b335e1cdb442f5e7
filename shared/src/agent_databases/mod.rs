//! An agent's own database. Owns: what it is called, how it is made and removed, on a Postgres server of
//! ours or as a project of Neon. Does not own: where its address is recorded, and when it is wanted.
//!
//! Everything here can be repeated: after a crash at any line, twice at once, and after an answer that
//! got lost.

mod neon;
mod server;

pub use neon::{BASE_URL, Neon, NeonProject};
pub use server::Server;
use uuid::Uuid;

/// Where agents' databases are made.
#[derive(Debug)]
pub enum Databases {
    /// On a Postgres server of ours.
    Server(Server),
    /// At Neon, a project each.
    Neon(Neon),
    /// Nowhere: agents that need one cannot start.
    None,
}

/// What went wrong with an agent's database. What it displays may be shown to the agent's owner: it holds
/// no address, no name and no text of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DatabaseError {
    /// There is no service, or the database is of another one than ours.
    #[error("No database service is configured")]
    NotConfigured,
    /// Nobody answers there, or the answer got lost.
    #[error("The database service cannot be reached")]
    Unreachable,
    /// The time for this was over. It may still have been done.
    #[error("The database service did not answer in time")]
    TimedOut,
    /// The service has too much to do, or a fault. It can be tried again later.
    #[error("The database service is not available at the moment")]
    Unavailable,
    /// The service does not take our credentials, or does not let us do this.
    #[error("The database service refused to do this")]
    Refused,
    /// Something answered that is not what we speak.
    #[error("The database service answered something that is not understood")]
    Protocol,
}

impl Databases {
    /// Removes an agent's database and what belongs to it; there may be none. `project_id` is what
    /// [`Neon::ensure`] answered, if that is known.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn drop(
        &self,
        agent_id: Uuid,
        project_id: Option<&str>,
    ) -> Result<(), DatabaseError> {
        match self {
            Self::Server(server) => server.drop(agent_id).await,
            Self::Neon(neon) => neon.drop(agent_id, project_id).await,
            Self::None => Err(DatabaseError::NotConfigured),
        }
    }
}
