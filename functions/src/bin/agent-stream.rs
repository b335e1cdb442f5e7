//! `POST /api/v1/milady/agents/{agentId}/stream`: streams an agent's answer, behind a URL of its own.

use shared::api::agent::stream::handle;
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
    lambda::serve_stream("agent-stream", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
