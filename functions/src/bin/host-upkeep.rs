//! Prefetches the default image on every host, and cleans hosts whose disk fills up, every five minutes.

use shared::api::host_upkeep::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        hosts: config::hosts()?,
        images: config::images()?,
        registries: config::registry_accounts()?,
    };
    lambda::serve_events("host-upkeep", |_, invocation| handle(deps, invocation)).await
}
