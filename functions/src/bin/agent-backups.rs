//! `GET /api/v1/milady/agents/{agentId}/backups`: lists an agent's backups.

use shared::api::agent::backups::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("agent-backups", |request, _| handle(deps, request)).await
}
