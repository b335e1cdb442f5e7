//! `GET /api/v1/admin/infrastructure`.

use shared::api::admin::infrastructure::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        cache: config::cache()?,
        publisher: config::publisher()?,
    };
    lambda::serve_http("admin-infrastructure", |request, _| handle(deps, request)).await
}
