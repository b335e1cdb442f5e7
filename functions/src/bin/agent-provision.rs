//! `POST /api/v1/milady/agents/{agentId}/provision`: starts an agent.

use shared::api::agent::provision::handle;
use shared::api::deps::StartDeps;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let deps = &StartDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        prices: config::prices()?,
        domain: config::agent_base_domain()?,
        address_policy: config::webhook_address_policy()?,
        publisher: config::publisher()?,
    };
    lambda::serve_http("agent-provision", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
