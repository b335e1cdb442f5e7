//! `GET /api/v1/credits/transactions/{transactionId}/charges`: lists what a transaction consists of.

use shared::api::credit::charges::handle;
use shared::api::deps::DatabaseDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("credit-charges", |request, _| handle(deps, request)).await
}
