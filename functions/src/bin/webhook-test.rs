//! `POST /api/v1/settings/webhook/test`: tests a webhook of an organization.

use shared::api::deps::WebhookDeps;
use shared::api::settings::webhook_test::handle;
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
    lambda::serve_http("webhook-test", |request, _| handle(deps, request)).await
}
