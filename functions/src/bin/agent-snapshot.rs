//! `POST /api/v1/milady/agents/{agentId}/snapshot`: saves an agent's state as a backup.

use shared::api::agent::snapshot::handle;
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
    lambda::serve_http("agent-snapshot", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
