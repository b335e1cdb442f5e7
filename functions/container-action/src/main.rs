//! `POST /api/v1/admin/infrastructure/containers/actions`.

use shared::api::admin::container::action::{Deps, handle};
use shared::lambda::{self, Connections, config};
use shared::secrets::Secrets;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        fleet: config::fleet()?,
        images: config::images()?,
        registries: config::registries()?,
        secrets: Secrets::new(),
    };
    lambda::serve_http("container-action", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
