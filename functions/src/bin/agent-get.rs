//! `GET /api/v1/milady/agents/{agentId}`: shows an agent.

use shared::api::agent::get::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        prices: config::prices()?,
        default_image: config::default_image()?,
        domain: config::agent_base_domain()?,
    };
    lambda::serve_http("agent-get", |request, _| handle(deps, request)).await
}
