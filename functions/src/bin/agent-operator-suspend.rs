//! `POST /api/v1/admin/agents/{agentId}/suspend`: suspends an agent at an operator's request.

use shared::api::agent::operator_suspend::handle;
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
    lambda::serve_http("agent-operator-suspend", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
