//! `POST /api/v1/admin/infrastructure/containers/actions`: performs an operator's action on a container.

use shared::api::admin::container::action::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        hosts: config::hosts()?,
        images: config::images()?,
        registries: config::registry_accounts()?,
    };
    lambda::serve_http("container-action", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
