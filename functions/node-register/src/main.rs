//! `POST /api/v1/admin/docker-nodes`.

use shared::api::node::ReachDeps;
use shared::api::node::register::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &ReachDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        fleet: config::fleet()?,
    };
    lambda::serve_http("node-register", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
