//! `GET /api/v1/milady/agents/{agentId}`: shows an agent.

use shared::api::agent::get::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        prices: config::prices()?,
        domain: config::agent_base_domain()?,
    };
    lambda::serve_http("agent-get", |request, _| handle(deps, request)).await
}
