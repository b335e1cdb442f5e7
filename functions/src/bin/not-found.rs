//! The API's default route: every request that no other route takes.

use shared::api::not_found::handle;
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    lambda::serve_http("not-found", |request, _| handle(request)).await
}
