//! `GET /api/v1/milady/agents`.

use shared::api::agent::list::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        prices: config::prices()?,
    };
    lambda::serve_http("agent-list", |request, _| handle(deps, request)).await
}
