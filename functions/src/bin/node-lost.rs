//! `POST|DELETE /api/v1/admin/docker-nodes/{nodeId}/lost`: declares a host lost, and takes it back into service.

use shared::api::deps::DatabaseDeps;
use shared::api::node::lost::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("node-lost", |request, _| handle(deps, request)).await
}
