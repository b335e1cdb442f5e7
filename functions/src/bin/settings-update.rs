//! `PATCH /api/v1/settings`: changes the settings of an organization.

use shared::api::deps::DatabaseDeps;
use shared::api::settings::update::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("settings-update", |request, _| handle(deps, request)).await
}
