//! The deployment's own function: migrations, adoption, the first organization.

use shared::api::db_migrate::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::Migration)?,
        prices: config::prices()?,
    };
    lambda::serve_events("db-migrate", |event, _| handle(deps, event)).await
}
