//! The event `job.due`: runs one job.

use shared::api::job::run::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        prices: config::prices()?,
        hosts: config::hosts()?,
        reach: config::webhook_reach()?,
    };
    lambda::serve_events("job-run", |event, _| handle(deps, event)).await
}
