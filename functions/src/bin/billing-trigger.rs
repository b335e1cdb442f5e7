//! `GET|POST /api/cron/milady-billing`: starts a billing run.

use shared::api::billing::trigger::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let deps = &Deps {
        pool: lambda::pool(Connections::Four)?,
        prices: config::prices()?,
        cron_secret: config::cron_secret()?,
    };
    lambda::serve_http("billing-trigger", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
