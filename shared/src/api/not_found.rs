//! Every request below `/api` that no other route takes. Browsers' preflight requests come here too; the gateway adds the CORS headers, but only to a successful response.

use lambda_http::http::{Method, StatusCode};
use lambda_http::{Body, Request, Response};

use super::problem::Problem;

/// 204 for `OPTIONS`, 404 for everything else.
#[expect(clippy::unused_async, reason = "all handlers are called the same way")]
pub async fn handle(request: Request) -> Result<Response<Body>, Problem> {
    if request.method() != Method::OPTIONS {
        return Err(Problem::not_found("There is no such route"));
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
