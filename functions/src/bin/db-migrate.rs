//! The function of the deployment: migrations, the runtime role, adoption of an older biller, the first organization.

use shared::api::db_migrate::handle;
use shared::api::deps::DeploymentDeps;
use shared::lambda::{self, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    let deps = &deps().await;
    lambda::serve_events("db-migrate", |event, invocation| {
        handle(deps.as_ref(), event, invocation)
    })
    .await
}

async fn deps() -> Result<DeploymentDeps, lambda::ConfigError> {
    lambda::init().await?;
    Ok(DeploymentDeps {
        owner: lambda::owner_database()?,
        runtime_login: config::runtime_login()?,
        prices: config::prices()?,
        keys: config::encryption_keys()?,
        older_application: config::older_application()?,
    })
}
