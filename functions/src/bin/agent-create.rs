//! `POST /api/v1/milady/agents`: creates an agent.

use shared::api::agent::create::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        prices: config::prices()?,
        images: config::images()?,
        keys: config::encryption_keys()?,
        older_application: config::older_application()?,
    };
    lambda::serve_http("agent-create", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
