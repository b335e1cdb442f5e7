//! `GET|POST|PATCH|DELETE /api/v1/admin/image-roll-out`: rolls out a new version of the default image.

use shared::api::admin::image_roll_out::handle;
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
    lambda::serve_http("image-roll-out", |request, _| handle(deps, request)).await
}
