//! `GET /api/v1/credits/transactions`: lists an organization's ledger.

use shared::api::credit::history::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("credit-history", |request, _| handle(deps, request)).await
}
