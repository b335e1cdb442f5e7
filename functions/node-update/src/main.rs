//! `PATCH /api/v1/admin/docker-nodes/{nodeId}`.

use shared::api::node::update::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        allowed: config::allowed_nodes()?,
    };
    lambda::serve_http("node-update", |request, _| handle(deps, request)).await
}
