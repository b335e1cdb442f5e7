//! `POST /api/v1/admin/docker-containers/audit`: compares the containers on the hosts with the rows.

use shared::api::admin::container::audit::handle;
use shared::api::deps::HostDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &HostDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        hosts: config::hosts()?,
    };
    lambda::serve_http("container-audit", |request, _| handle(deps, request)).await
}
