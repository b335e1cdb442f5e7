//! `GET /api/v1/admin/docker-nodes/{nodeId}`: shows a host.

use shared::api::deps::ImageDeps;
use shared::api::node::get::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &ImageDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        default_image: config::default_image()?,
    };
    lambda::serve_http("node-get", |request, _| handle(deps, request)).await
}
