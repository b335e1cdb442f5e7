//! Responses. Owns: their headers, the JSON form of numbers, and the kind of body that is streamed. Does not
//! own: errors (`problem`), lists (`list`).

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use lambda_http::http::{HeaderMap, HeaderValue};
use lambda_http::{Body, Response};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::{Problem, log_internal};
use super::schema::Succeeded;
use crate::domain::money::Money;

/// A body that is sent while it is being made. It never fails: the runtime would pass the error on as if it
/// were a part of the body.
pub type StreamedBody = UnsyncBoxBody<Bytes, Infallible>;

/// For every response, unless its route sets the header itself. A browser must not guess the type of a response, run or
/// frame it, send its address to others, or ask for the next one without TLS.
const SECURITY_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    (
        "strict-transport-security",
        "max-age=63072000; includeSubDomains",
    ),
    ("x-content-type-options", "nosniff"),
];

/// Adds the security headers that are not set.
pub fn add_security_headers(headers: &mut HeaderMap) {
    for (name, value) in SECURITY_HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

/// Decimals that are no money (rates, seconds, hours) have the JSON form of money: a number with at most six
/// decimals.
#[must_use]
pub fn number(value: Decimal) -> Money {
    Money::rounded(value)
}

/// `{"success": true, "data": ...}`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Data<T> {
    success: Succeeded,
    data: T,
}

/// `{"success": true}`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Done {
    success: Succeeded,
}

impl<T> Data<T> {
    pub fn new(data: T) -> Self {
        Self {
            success: Succeeded,
            data,
        }
    }
}

/// 200 with the data.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn ok(data: impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(200, &Data::new(data))
}

/// 201 with the data: the request made something.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn created(data: impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(201, &Data::new(data))
}

/// 200 without data.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn done() -> Result<Response<Body>, Problem> {
    with_status(200, &Done::default())
}

/// A response with exactly this body.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn with_status(status: u16, body: &impl Serialize) -> Result<Response<Body>, Problem> {
    let text = serde_json::to_string(body).map_err(log_internal("response has no JSON form"))?;
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
        .body(Body::Text(text))
        .map_err(log_internal("response not built"))
}

/// A complete body where a streamed one is expected.
#[must_use]
pub fn streamed(body: Body) -> StreamedBody {
    let bytes = match body {
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    };
    Full::new(bytes).boxed_unsync()
}
