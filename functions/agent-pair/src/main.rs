//! `POST /api/auth/pair`.

use shared::api::agent::pair::{Deps, handle};
use shared::lambda::{self, Connections};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
    };
    lambda::serve_http("agent-pair", |request, _| handle(deps, request)).await
}
