//! `POST /api/v1/admin/organizations`: adds an organization and its first owner.

use shared::api::deps::DatabaseDeps;
use shared::api::organization::create::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("organization-create", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
