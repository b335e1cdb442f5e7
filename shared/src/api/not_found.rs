//! Whatever no other route takes.

use lambda_http::{Body, Request, Response};

use super::problem::Problem;

/// Answers 404.
///
/// # Errors
/// Always.
#[expect(clippy::unused_async, reason = "all handlers are called the same way")]
pub async fn handle(_: Request) -> Result<Response<Body>, Problem> {
    Err(Problem::not_found("There is no such route"))
}
