//! `PATCH /api/v1/milady/agents/{agentId}`: stops an agent by the action that the body names.

use shared::api::agent::update::handle;
use shared::api::deps::StopDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &StopDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        publisher: config::publisher()?,
    };
    lambda::serve_http("agent-update", |request, _| handle(deps, request)).await
}
