//! `PATCH /api/v1/admin/docker-nodes/{nodeId}`: changes the settings of a host.

use shared::api::node::update::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        address_policy: config::host_address_policy()?,
    };
    lambda::serve_http("node-update", |request, _| handle(deps, request)).await
}
