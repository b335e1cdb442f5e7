//! `POST /api/v1/milady/agents/{agentId}/provision`.

use shared::api::agent::StartDeps;
use shared::api::agent::provision::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &StartDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        prices: config::prices()?,
        domain: config::agent_base_domain()?,
        reach: config::webhook_reach()?,
        publisher: config::publisher()?,
    };
    lambda::serve_http("agent-provision", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
