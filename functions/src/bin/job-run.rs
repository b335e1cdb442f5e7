//! The events `job.due` and `tombstone.due`: runs a job, or removes what a deleted agent left.

use shared::api::job::run::{Deps, handle};
use shared::app::host_access::JobHostDeps;
use shared::lambda::{self, Workload, config};
use shared::random::random_bytes;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        prices: config::prices()?,
        hosts: JobHostDeps {
            hosts: config::hosts()?,
            databases: config::agent_databases()?,
            images: config::images()?,
            registries: config::registry_accounts()?,
            bucket: config::backup_bucket()?,
            keys: config::encryption_keys()?,
            older_application: config::older_application()?,
            domain: config::agent_base_domain()?,
            origins: config::allowed_origins()?,
            health_within: config::agent_health_timeout()?,
            random: || random_bytes().ok(),
        },
        address_policy: config::webhook_address_policy()?,
    };
    lambda::serve_events("job-run", |event, invocation| {
        handle(deps, event, invocation)
    })
    .await
}
