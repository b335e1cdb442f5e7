//! `PATCH /api/v1/admin/agents/{agentId}/billing`: changes whether and at which rate an agent is billed.

use shared::api::agent::billing::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("agent-billing", |request, _| handle(deps, request)).await
}
