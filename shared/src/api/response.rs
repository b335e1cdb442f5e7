//! Responses. Owns: their headers, the JSON form of numbers, and the kind of body that is streamed. Does not
//! own: errors (`problem`), lists (`list`).

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use lambda_http::{Body, Response};
use rust_decimal::Decimal;
use serde::Serialize;

use super::problem::{Problem, log_internal};
use crate::domain::money::Money;

/// A body that is sent while it is being made. It never fails: the runtime would pass the error on as if it
/// were a part of the body.
pub type StreamedBody = UnsyncBoxBody<Bytes, Infallible>;

/// Decimals that are no money (rates, seconds, hours) have the JSON form of money: a number with at most six
/// decimals.
#[must_use]
pub fn number(value: Decimal) -> Money {
    Money::rounded(value)
}

/// 200.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn ok(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(200, body)
}

/// 201: the request made something.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn created(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(201, body)
}

/// 202: a job will do it.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn accepted(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(202, body)
}

/// 409 with a body that names the job that is active already.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn in_progress(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(409, body)
}

fn with_status(status: u16, body: &impl Serialize) -> Result<Response<Body>, Problem> {
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
