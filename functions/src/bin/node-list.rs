//! `GET /api/v1/admin/docker-nodes`: lists the hosts.

use shared::api::deps::DatabaseDeps;
use shared::api::node::list::handle;
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let deps = &DatabaseDeps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
    };
    lambda::serve_http("node-list", |request, _| handle(deps, request)).await
}
