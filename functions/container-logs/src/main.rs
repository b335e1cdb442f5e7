//! `GET /api/v1/admin/docker-containers/{containerId}/logs`.

use shared::api::admin::container::{ReachDeps, logs::handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &ReachDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        fleet: config::fleet()?,
    };
    lambda::serve_http("container-logs", |request, _| handle(deps, request)).await
}
