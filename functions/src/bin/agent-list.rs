//! `GET /api/v1/milady/agents`: lists an organization's agents.

use shared::api::agent::list::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        prices: config::prices()?,
        default_image: config::default_image()?,
    };
    lambda::serve_http("agent-list", |request, _| handle(deps, request)).await
}
