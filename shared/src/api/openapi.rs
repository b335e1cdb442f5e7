//! `GET /api/openapi.json`: the description of the API. `build.rs` makes it from `openapi.yaml`.

use lambda_http::{Body, Request, Response};

use super::list;
use super::problem::{Problem, log_internal};

/// The description, as JSON.
pub const DOCUMENT: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

#[expect(clippy::unused_async, reason = "all handlers are called the same way")]
pub async fn handle(request: Request) -> Result<Response<Body>, Problem> {
    let document: &serde_json::value::RawValue =
        serde_json::from_str(DOCUMENT).map_err(log_internal("API description is not JSON"))?;
    list::respond(&request, &document)
}
