//! `GET|POST|DELETE /api/v1/admin/docker-nodes/{nodeId}/drain`: shows, begins and cancels the drain of a host.

use shared::api::deps::DatabaseDeps;
use shared::api::node::drain::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("node-drain", |request, _| handle(deps, request)).await
}
