//! The event `job.due`: runs one job.

use shared::api::job::run::{Deps, handle};
use shared::app::host_access::Hosts;
use shared::lambda::{self, Connections, config};
use shared::secrets::Secrets;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        prices: config::prices()?,
        hosts: Hosts {
            fleet: config::fleet()?,
            databases: config::databases()?,
            images: config::images()?,
            registries: config::registries()?,
            secrets: Secrets::new(),
            domain: config::agent_base_domain()?,
            origins: config::allowed_origins()?,
            health_within: config::agent_health_within()?,
            random: || lambda::random_bytes().ok(),
        },
        reach: config::webhook_reach()?,
    };
    lambda::serve_events("job-run", |event, _| handle(deps, event)).await
}
