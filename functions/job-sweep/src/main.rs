//! Every minute: publishes events, recovers what is stale, tells of what is due.

use shared::api::job::sweep::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        publisher: config::publisher()?,
    };
    lambda::serve_events("job-sweep", |_, _| handle(deps)).await
}
