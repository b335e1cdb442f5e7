//! `GET /api/v1/notices`: lists what an organization was told.

use shared::api::deps::DatabaseDeps;
use shared::api::notice::list::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("notice-list", |request, _| handle(deps, request)).await
}
