//! `POST /api/v1/milady/agents/{agentId}/pairing-token`: makes a pairing token.

use shared::api::agent::pairing_token::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        domain: config::agent_base_domain()?,
    };
    lambda::serve_http("agent-pairing-token", |request, _| handle(deps, request)).await
}
