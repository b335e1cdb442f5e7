//! Every minute, and when somebody asks: looks at all hosts and keeps what it saw.

use shared::api::fleet_refresh::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        fleet: config::fleet()?,
        cache: config::cache()?,
    };
    lambda::serve_events("fleet-refresh", |event, invocation| {
        handle(deps, event, invocation)
    })
    .await
}
