//! `GET /api/openapi.json`.

use shared::api::openapi::handle;
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::boot();
    lambda::serve_http("openapi", |request, _| handle(request)).await
}
