//! Every minute: publishes events, recovers stale jobs, resumes agents after a top-up, moves and restarts agents, announces jobs.

use shared::api::job::sweep::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        publisher: config::publisher()?,
        prices: config::prices()?,
    };
    lambda::serve_events("job-sweep", |_, _| handle(deps)).await
}
