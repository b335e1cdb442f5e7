//! Every 15 minutes: backs up the running agents whose time of the day has come.

use shared::api::backup_daily::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        hosts: config::hosts()?,
        bucket: config::backup_bucket()?,
    };
    lambda::serve_events("backup-daily", |_, invocation| handle(deps, invocation)).await
}
