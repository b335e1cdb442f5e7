//! `GET /api/v1/admin/infrastructure`: shows the fleet as the last refresh run found it.

use shared::api::admin::infrastructure::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        cache: config::cache()?,
        publisher: config::publisher()?,
    };
    lambda::serve_http("admin-infrastructure", |request, _| handle(deps, request)).await
}
