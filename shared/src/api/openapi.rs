//! `GET /api/openapi.json`: the description of the API, made from `openapi.yaml` when the library is
//! built.

use lambda_http::{Body, Request, Response};

use super::list;
use super::problem::Problem;

/// The description, as JSON.
pub const DOCUMENT: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// Answers it.
///
/// # Errors
/// None but 500, should it not be JSON.
#[expect(clippy::unused_async, reason = "all handlers are called the same way")]
pub async fn handle(request: Request) -> Result<Response<Body>, Problem> {
    let document: &serde_json::value::RawValue =
        serde_json::from_str(DOCUMENT).map_err(|_| Problem::internal())?;
    list::answer(&request, &document)
}
