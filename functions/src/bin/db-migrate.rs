//! The function of the deployment: migrations, adoption of an older biller, the first organization.

use shared::api::db_migrate::handle;
use shared::api::deps::BillingDeps;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let deps = &BillingDeps {
        pool: lambda::pool(Connections::Migration)?,
        prices: config::prices()?,
    };
    lambda::serve_events("db-migrate", |event, _| handle(deps, event)).await
}
