//! `POST /api/v1/admin/docker-nodes/{nodeId}/health-check`: inspects a host.

use shared::api::deps::HostDeps;
use shared::api::node::check::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &HostDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        hosts: config::hosts()?,
    };
    lambda::serve_http("node-check", |request, _| handle(deps, request)).await
}
