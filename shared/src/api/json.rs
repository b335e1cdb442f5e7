//! The JSON of answers. Owns: the date and money formats, and the headers every answer has.

use chrono::{DateTime, SecondsFormat, Utc};
use lambda_http::{Body, Response};
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use super::problem::Problem;
use crate::domain::money::Money;

/// An ISO 8601 date with milliseconds and `Z`.
#[derive(Clone, Copy, Debug)]
pub struct Date(pub DateTime<Utc>);

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// Decimals that are no money (rates, seconds, hours) have the same JSON form as money: a number
/// with at most six decimals.
#[must_use]
pub fn number(value: Decimal) -> Money {
    Money::rounded(value)
}

/// Something was created: 201.
///
/// # Errors
/// A 500 problem when the body has no JSON form.
pub fn created(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(201, body)
}

/// It will be done by a job: 202.
///
/// # Errors
/// A 500 problem when the body has no JSON form.
pub fn accepted(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(202, body)
}

/// A job is under way already: 409 with the body that names it.
///
/// # Errors
/// A 500 problem when the body has no JSON form.
pub fn in_progress(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(409, body)
}

/// A 200 with this body.
///
/// # Errors
/// A 500 problem when the body has no JSON form.
pub fn ok(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    with_status(200, body)
}

/// An answer with this status and body.
///
/// # Errors
/// A 500 problem when the body has no JSON form.
fn with_status(status: u16, body: &impl Serialize) -> Result<Response<Body>, Problem> {
    let text = serde_json::to_string(body).map_err(|_| Problem::internal())?;
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
        .body(Body::Text(text))
        .map_err(|_| Problem::internal())
}
