//! Refreshes the snapshot of the fleet, every minute and on request.

use shared::api::fleet_refresh::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        hosts: config::hosts()?,
        cache: config::cache()?,
        publisher: config::publisher()?,
        default_image: config::default_image()?,
    };
    lambda::serve_events("fleet-refresh", |event, invocation| {
        handle(deps, event, invocation)
    })
    .await
}
