//! `GET /api/v1/admin/docker-nodes/{nodeId}/figures`: shows what the agents on a host use.

use shared::api::deps::FigureDeps;
use shared::api::node::figures::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &FigureDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        cache: config::cache()?,
    };
    lambda::serve_http("node-figures", |request, _| handle(deps, request)).await
}
