//! `GET /api/v1/settings`: shows the settings of an organization.

use shared::api::deps::DatabaseDeps;
use shared::api::settings::get::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("settings-get", |request, _| handle(deps, request)).await
}
