//! `POST /api/v1/admin/credits/refund`: takes back credit of an organization.

use shared::api::credit::refund::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("credit-refund", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
