//! `GET /api/openapi.json`: the description of the API.

use shared::api::openapi::handle;
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    lambda::serve_http("openapi", |request, _| handle(request)).await
}
