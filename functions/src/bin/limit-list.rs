//! `GET /api/v1/limits`: lists the limits of the caller's organization, and what is used of them.

use shared::api::deps::DatabaseDeps;
use shared::api::limit::list::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("limit-list", |request, _| handle(deps, request)).await
}
