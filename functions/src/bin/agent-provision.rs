//! `POST /api/v1/milady/agents/{agentId}/provision`: starts an agent.

use shared::api::agent::provision::handle;
use shared::api::deps::StartDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &StartDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        prices: config::prices()?,
        domain: config::agent_base_domain()?,
        address_policy: config::webhook_address_policy()?,
        publisher: config::publisher()?,
        keys: config::encryption_keys()?,
    };
    lambda::serve_http("agent-provision", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
