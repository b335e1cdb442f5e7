//! `POST /api/v1/admin/credits/write-off`: writes off what an organization owes.

use shared::api::credit::write_off::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("credit-write-off", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
