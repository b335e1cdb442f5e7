//! `GET /api/v1/credits/balance`: shows an organization's credit.

use shared::api::credit::get::handle;
use shared::api::deps::PriceDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &PriceDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        prices: config::prices()?,
    };
    lambda::serve_http("credit-get", |request, _| handle(deps, request)).await
}
