//! `DELETE /api/v1/admin/docker-nodes/{nodeId}`: removes a host.

use shared::api::deps::DatabaseDeps;
use shared::api::node::remove::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("node-remove", |request, _| handle(deps, request)).await
}
