//! `POST /api/auth/pair`: exchanges a pairing token for an agent's key.

use shared::api::agent::pair::handle;
use shared::lambda::{self, Workload};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    let pool = &lambda::database(Workload::Requests)?;
    lambda::serve_http("agent-pair", |request, _| handle(pool, request)).await
}
