//! `GET /api/v1/admin/organizations`: lists the organizations and their credit.

use shared::api::deps::DatabaseDeps;
use shared::api::organization::list::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("organization-list", |request, _| handle(deps, request)).await
}
