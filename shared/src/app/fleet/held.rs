//! Rows that somebody else holds while a refresh run is under way. Owns: that one of them does not end the run: what is to be
//! done with that agent is done by the next run.

use tracing::warn;

use crate::db;
use crate::db::DatabaseFailure;
use crate::domain::ids::AgentRef;

/// The result of work on one agent. A lock that was not granted in time counts as nothing done.
pub(super) fn unless_held<T: Default>(result: sqlx::Result<T>, agent: AgentRef) -> sqlx::Result<T> {
    match result {
        Err(error) if db::classify(&error) == DatabaseFailure::Conflict => {
            warn!(
                agent.id = %agent.agent_id, error = db::error_class(&error),
                "a row of agent {} is held by somebody else; the next refresh run follows", agent.agent_id
            );
            Ok(T::default())
        }
        result => result,
    }
}
