//! `POST /api/v1/admin/organizations/{organizationId}/users`: adds a user to an organization.

use shared::api::deps::DatabaseDeps;
use shared::api::organization::user_create::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("organization-user-create", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
