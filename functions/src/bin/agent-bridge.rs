//! `POST /api/v1/milady/agents/{agentId}/bridge`: passes a JSON-RPC request on to an agent.

use shared::api::agent::bridge::handle;
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
    lambda::serve_http("agent-bridge", |request, _| handle(deps, request)).await
}
