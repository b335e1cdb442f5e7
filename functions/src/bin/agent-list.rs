//! `GET /api/v1/milady/agents`: lists an organization's agents.

use shared::api::agent::list::handle;
use shared::api::deps::PriceDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let deps = &PriceDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        prices: config::prices()?,
    };
    lambda::serve_http("agent-list", |request, _| handle(deps, request)).await
}
