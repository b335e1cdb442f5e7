//! States the days that are over, and audits billing, every day and on request.

use shared::api::billing::audit::{Deps, handle};
use shared::lambda::{self, Workload};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::BillingRun)?,
    };
    lambda::serve_events("billing-audit", |event, invocation| {
        handle(deps, event, invocation)
    })
    .await
}
