//! `POST /api/v1/admin/docker-nodes/sync`.

use shared::api::node::Deps;
use shared::api::node::sync::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
    };
    lambda::serve_http("node-sync", |request, _| handle(deps, request)).await
}
