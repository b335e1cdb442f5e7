//! `POST /api/auth/pair`: exchanges a pairing token for an agent's key.

use shared::api::agent::pair::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        keys: config::encryption_keys()?,
    };
    lambda::serve_http("agent-pair", |request, _| handle(deps, request)).await
}
