//! `POST /api/v1/milady/agents/{agentId}/suspend`: stops an agent.

use shared::api::agent::suspend::handle;
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
    lambda::serve_http("agent-suspend", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
