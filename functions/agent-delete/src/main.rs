//! `DELETE /api/v1/milady/agents/{agentId}`.

use shared::api::agent::StopDeps;
use shared::api::agent::delete::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &StopDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        publisher: config::publisher()?,
    };
    lambda::serve_http("agent-delete", |request, _| handle(deps, request)).await
}
