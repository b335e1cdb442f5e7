//! `POST /api/v1/milady/agents/{agentId}/suspend`.

use shared::api::agent::StopDeps;
use shared::api::agent::suspend::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
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
