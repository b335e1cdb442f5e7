//! `POST /api/v1/admin/agents/{agentId}/move`: moves an agent to another host.

use shared::api::agent::moves::handle;
use shared::api::deps::StopDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &StopDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        publisher: config::publisher()?,
    };
    lambda::serve_http("agent-move", |request, _| handle(deps, request)).await
}
