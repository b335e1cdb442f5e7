//! `POST /api/v1/admin/credits`.

use shared::api::credit::grant::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
    };
    lambda::serve_http("credit-grant", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
