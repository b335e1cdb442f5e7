//! `GET /api/openapi.json`: the description of the API. `cargo prepare` derives it from the routes.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::list;
use super::problem::{Problem, log_internal};
use super::route::{CallerKind, ResponseKind, Route, Tag};

pub const ROUTES: &[Route] = &[Route {
    caller: CallerKind::Anybody,
    responses: &[
        ResponseKind::json::<Document>(200, "The OpenAPI document of this API.").with_etag(),
    ],
    ..Route::get(
        "openapi",
        "/api/openapi.json",
        Tag::Meta,
        "Get this document",
    )
}];

/// The description, as JSON.
pub const DOCUMENT: &str = include_str!("openapi.json");

#[derive(JsonSchema)]
#[schemars(inline, extend("additionalProperties" = true))]
#[expect(dead_code, reason = "describes what is returned as it is")]
struct Document {
    #[schemars(extend("const" = "3.1.0"))]
    openapi: String,
    info: Map<String, Value>,
    paths: Map<String, Value>,
    components: Map<String, Value>,
}

#[expect(clippy::unused_async, reason = "all handlers are called the same way")]
pub async fn handle(request: Request) -> Result<Response<Body>, Problem> {
    let document: &serde_json::value::RawValue =
        serde_json::from_str(DOCUMENT).map_err(log_internal("API description is not JSON"))?;
    list::respond(&request, &document)
}
