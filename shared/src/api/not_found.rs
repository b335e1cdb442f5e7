//! Whatever no other route takes. Among it are the preflights of browsers: the gateway adds what they
//! ask for to the answer, which must only be a good one.

use lambda_http::http::{Method, StatusCode};
use lambda_http::{Body, Request, Response};

use super::problem::Problem;

/// Answers 404, and 204 to `OPTIONS`.
///
/// # Errors
/// 404.
#[expect(clippy::unused_async, reason = "all handlers are called the same way")]
pub async fn handle(request: Request) -> Result<Response<Body>, Problem> {
    if request.method() != Method::OPTIONS {
        return Err(Problem::not_found("There is no such route"));
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
