//! `GET /api/v1/credits/balance`.

use shared::api::credit::get::{Deps, handle};
use shared::lambda::{self, Connections, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    let deps = &Deps {
        pool: lambda::pool(Connections::One)?,
        auth: config::auth()?,
        prices: config::prices()?,
    };
    lambda::serve_http("credit-get", |request, _| handle(deps, request)).await
}
