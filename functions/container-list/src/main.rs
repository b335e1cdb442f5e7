//! `GET /api/v1/admin/docker-containers`.

use shared::api::admin::container::list::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
    };
    lambda::serve_http("container-list", |request, _| handle(deps, request)).await
}
