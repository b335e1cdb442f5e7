//! `GET /api/v1/admin/organizations/{organizationId}/limits`: shows the limits of an organization.

use shared::api::deps::DatabaseDeps;
use shared::api::limit::get::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("limit-get", |request, _| handle(deps, request)).await
}
