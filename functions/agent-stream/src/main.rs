//! `POST /api/v1/milady/agents/{agentId}/stream`, behind a URL of its own.

use shared::api::agent::ReachDeps;
use shared::api::agent::stream::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &ReachDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        fleet: config::fleet()?,
    };
    lambda::serve_stream("agent-stream", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
