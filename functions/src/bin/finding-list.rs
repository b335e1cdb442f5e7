//! `GET /api/v1/admin/billing/findings`: lists what the audit of billing found.

use shared::api::admin::billing::findings::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("finding-list", |request, _| handle(deps, request)).await
}
