//! `GET /api/v1/admin/audit`: lists what operators did.

use shared::api::admin::audit::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("audit-list", |request, _| handle(deps, request)).await
}
