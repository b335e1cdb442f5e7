//! `GET /api/v1/admin/docker-nodes/{nodeId}`.

use shared::api::node::Deps;
use shared::api::node::get::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
    };
    lambda::serve_http("node-get", |request, _| handle(deps, request)).await
}
