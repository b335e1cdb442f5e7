//! `ANY /api/{proxy+}`: responds 404 to what no other route takes.

use shared::api::not_found::handle;
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    lambda::serve_http("not-found", |request, _| handle(request)).await
}
