//! `POST /api/v1/admin/docker-nodes/{nodeId}/health-check`.

use shared::api::node::ReachDeps;
use shared::api::node::check::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &ReachDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        fleet: config::fleet()?,
    };
    lambda::serve_http("node-check", |request, _| handle(deps, request)).await
}
