//! Sends events to organizations' webhooks, and sweeps what is due, every minute.

use shared::api::webhook_deliver::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        keys: config::encryption_keys()?,
        address_policy: config::webhook_address_policy()?,
        app_url: config::app_url()?,
    };
    lambda::serve_events("webhook-deliver", |event, _| handle(deps, event)).await
}
