//! `PATCH /api/v1/settings`: changes the settings of an organization.

use shared::api::deps::WebhookDeps;
use shared::api::settings::update::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &WebhookDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        keys: config::encryption_keys()?,
        address_policy: config::webhook_address_policy()?,
    };
    lambda::serve_http("settings-update", |request, _| handle(deps, request)).await
}
