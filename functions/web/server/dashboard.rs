//! Every path outside `/api`: serves the dashboard.

use shared::api::dashboard::{Site, handle};
use shared::lambda;

include!(concat!(env!("OUT_DIR"), "/site.rs"));

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init_logging();
    lambda::serve_http("dashboard", |request, _| handle(request, SITE.as_ref())).await
}
