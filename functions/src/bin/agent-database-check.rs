//! Measures agents' databases every hour, and reports those that are too large.

use shared::api::agent_database_check::{Deps, handle};
use shared::lambda::{self, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        databases: config::agent_databases()?,
        max_bytes: config::agent_database_max_bytes()?,
    };
    lambda::serve_events("agent-database-check", |_, _| handle(deps)).await
}
