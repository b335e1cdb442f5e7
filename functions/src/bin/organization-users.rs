//! `GET /api/v1/admin/organizations/{organizationId}/users`: lists the users of an organization and their API keys.

use shared::api::deps::DatabaseDeps;
use shared::api::organization::users::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("organization-users", |request, _| handle(deps, request)).await
}
