//! `POST /api/v1/milady/agents/{agentId}/restore`: restores an agent's state from a backup.

use shared::api::agent::restore::handle;
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
    lambda::serve_http("agent-restore", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
