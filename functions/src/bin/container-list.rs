//! `GET /api/v1/admin/docker-containers`: lists the agents of all organizations.

use shared::api::admin::container::list::handle;
use shared::api::deps::ImageDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &ImageDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        default_image: config::default_image()?,
    };
    lambda::serve_http("container-list", |request, _| handle(deps, request)).await
}
