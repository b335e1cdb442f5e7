//! `GET /api/v1/admin/headscale`: lists the nodes of the private network.

use shared::api::admin::headscale::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        vpn: config::vpn()?,
    };
    lambda::serve_http("admin-headscale", |request, _| handle(deps, request)).await
}
