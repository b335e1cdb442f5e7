//! `PATCH /api/v1/admin/docker-nodes/{nodeId}`: changes the settings of a host.

use shared::api::node::update::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        address_policy: config::host_address_policy()?,
    };
    lambda::serve_http("node-update", |request, _| handle(deps, request)).await
}
