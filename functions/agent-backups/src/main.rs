//! `GET /api/v1/milady/agents/{agentId}/backups`.

use shared::api::agent::backups::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
    };
    lambda::serve_http("agent-backups", |request, _| handle(deps, request)).await
}
