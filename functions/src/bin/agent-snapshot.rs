//! `POST /api/v1/milady/agents/{agentId}/snapshot`: saves an agent's state as a backup.

use shared::api::agent::snapshot::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        hosts: config::hosts()?,
        bucket: config::backup_bucket()?,
    };
    lambda::serve_http("agent-snapshot", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
