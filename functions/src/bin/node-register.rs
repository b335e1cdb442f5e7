//! `POST /api/v1/admin/docker-nodes`: registers a host.

use shared::api::deps::HostDeps;
use shared::api::node::register::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &HostDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        hosts: config::hosts()?,
    };
    lambda::serve_http("node-register", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
