//! `GET /api/v1/milady/agents/{agentId}/jobs`: lists an agent's jobs.

use shared::api::agent::jobs::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("agent-jobs", |request, _| handle(deps, request)).await
}
