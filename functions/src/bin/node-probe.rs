//! `POST /api/v1/admin/docker-nodes/probe`: looks at a host before it is registered.

use shared::api::deps::HostDeps;
use shared::api::node::probe::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &HostDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        hosts: config::hosts()?,
    };
    lambda::serve_http("node-probe", |request, _| handle(deps, request)).await
}
