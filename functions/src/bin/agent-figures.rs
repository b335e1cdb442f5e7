//! `GET /api/v1/milady/agents/{agentId}/figures`: shows what an agent's container uses.

use shared::api::agent::figures::handle;
use shared::api::deps::FigureDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &FigureDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        cache: config::cache()?,
    };
    lambda::serve_http("agent-figures", |request, _| handle(deps, request)).await
}
