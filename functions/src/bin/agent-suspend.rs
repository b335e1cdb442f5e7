//! `POST /api/v1/milady/agents/{agentId}/suspend`: stops an agent.

use shared::api::agent::suspend::handle;
use shared::api::deps::StopDeps;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let deps = &StopDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        publisher: config::publisher()?,
    };
    lambda::serve_http("agent-suspend", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
