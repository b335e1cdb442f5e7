//! `DELETE /api/v1/admin/organizations/{organizationId}/api-keys/{keyId}`: revokes an API key.

use shared::api::deps::DatabaseDeps;
use shared::api::organization::key_revoke::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("organization-key-revoke", |request, _| {
        handle(deps, request)
    })
    .await
}
