//! `GET /api/v1/milady/agents/{agentId}/logs`: reads the log of an agent's container.

use shared::api::agent::logs::handle;
use shared::api::deps::HostDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &HostDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        hosts: config::hosts()?,
    };
    lambda::serve_http("agent-logs", |request, _| handle(deps, request)).await
}
