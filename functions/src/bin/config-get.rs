//! `GET /api/v1/milady/config`: shows the prices, the images that may be chosen, and the limits.

use shared::api::config::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        prices: config::prices()?,
        images: config::images()?,
        domain: config::agent_base_domain()?,
    };
    lambda::serve_http("config-get", |request, _| handle(deps, request)).await
}
