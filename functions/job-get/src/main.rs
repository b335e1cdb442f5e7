//! `GET /api/v1/jobs/{jobId}`.

use shared::api::job::get::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
    };
    lambda::serve_http("job-get", |request, _| handle(deps, request)).await
}
