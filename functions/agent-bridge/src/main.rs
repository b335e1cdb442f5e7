//! `POST /api/v1/milady/agents/{agentId}/bridge`.

use shared::api::agent::ReachDeps;
use shared::api::agent::bridge::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &ReachDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        fleet: config::fleet()?,
    };
    lambda::serve_http("agent-bridge", |request, _| handle(deps, request)).await
}
