//! `GET /api/v1/jobs/{jobId}`: shows the state of a job.

use shared::api::deps::DatabaseDeps;
use shared::api::job::get::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("job-get", |request, _| handle(deps, request)).await
}
