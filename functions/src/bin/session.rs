//! `GET|POST|DELETE /api/v1/session`: shows, begins and ends a session of the dashboard.

use shared::api::deps::DatabaseDeps;
use shared::api::session::handle;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &DatabaseDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
    };
    lambda::serve_http("session", |request, _| handle(deps, request)).await
}
