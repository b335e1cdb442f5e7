//! Errors as answers: RFC 9457 problem details joined with the members that clients test. Owns: the
//! only mapping from errors to status codes.

use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::json;
use tracing::error;

use crate::app::billing::tick::TickError;
use crate::app::error::RequestError;
use crate::cache::CacheError;
use crate::db;
use crate::domain::credit_gate::Refusal;
use crate::domain::money::Money;
use crate::vpn::VpnError;

/// A field that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The field, as the client named it.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: &'static str,
}

/// An error as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    title: &'static str,
    error: String,
    details: Vec<Detail>,
    retry_after: Option<u32>,
    /// For 402, whose body is its own: what the balance must be, and what it is.
    credit: Option<(Money, Money)>,
}

impl Problem {
    fn new(status: u16, title: &'static str, error: impl Into<String>) -> Self {
        Self {
            status,
            title,
            error: error.into(),
            details: Vec::new(),
            retry_after: None,
            credit: None,
        }
    }

    /// 400 for one field.
    #[must_use]
    pub fn field(field: &'static str, message: &'static str) -> Self {
        Self::bad_request(vec![Detail { field, message }])
    }

    /// 400 with one entry per refused field.
    #[must_use]
    pub fn bad_request(details: Vec<Detail>) -> Self {
        let error = match details.as_slice() {
            [] => "The request is not valid".to_owned(),
            [only] => format!("{} {}", only.field, only.message),
            [first, rest @ ..] => {
                let (Detail { field, message }, more) = (first, rest.len());
                format!("{field} {message}, and {more} more")
            }
        };
        Self {
            details,
            ..Self::new(400, "Bad Request", error)
        }
    }

    /// 400 for one field, with an error text of its own.
    #[must_use]
    pub fn bad_value(error: String, detail: Detail) -> Self {
        Self {
            details: vec![detail],
            ..Self::new(400, "Bad Request", error)
        }
    }

    /// 401: no credential, or a bad one.
    #[must_use]
    pub fn unauthorized(error: &str) -> Self {
        Self::new(401, "Unauthorized", error)
    }

    /// 402: not enough credit.
    #[must_use]
    pub fn payment_required(refusal: &Refusal) -> Self {
        Self {
            credit: Some((refusal.required, refusal.balance)),
            ..Self::new(402, "Payment Required", refusal.to_string())
        }
    }

    /// 403: known, but not allowed.
    #[must_use]
    pub fn forbidden(error: &str) -> Self {
        Self::new(403, "Forbidden", error)
    }

    /// 404: not there, or not the caller's.
    #[must_use]
    pub fn not_found(error: &str) -> Self {
        Self::new(404, "Not Found", error)
    }

    /// 409: the state does not allow it.
    #[must_use]
    pub fn conflict(error: &str) -> Self {
        Self::new(409, "Conflict", error)
    }

    /// 413: the body is too long.
    #[must_use]
    pub fn too_large() -> Self {
        Self::new(
            413,
            "Content Too Large",
            "The body must not be longer than 1 MB",
        )
    }

    /// 415: the body is not JSON.
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        Self::new(
            415,
            "Unsupported Media Type",
            "The body must be application/json",
        )
    }

    /// 422: understood, and yet it cannot be done.
    #[must_use]
    pub fn unprocessable(error: &str) -> Self {
        Self::new(422, "Unprocessable Content", error)
    }

    /// 500, with a constant text.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            500,
            "Internal Server Error",
            "Something went wrong on our side",
        )
    }

    /// 503: try again in a few seconds.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::unavailable_for(
            5,
            "The service is temporarily unavailable, please try again",
        )
    }

    /// 503: this deployment cannot do it; trying again helps once somebody has mended it.
    #[must_use]
    pub fn not_configured(error: &str) -> Self {
        Self::unavailable_for(600, error)
    }

    /// 502: an agent or Headscale answered badly.
    #[must_use]
    pub fn bad_gateway(error: &str) -> Self {
        Self::new(502, "Bad Gateway", error)
    }

    /// 503: try again after so many seconds.
    #[must_use]
    pub fn unavailable_for(seconds: u32, error: impl Into<String>) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(503, "Service Unavailable", error)
        }
    }

    /// The answer.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response<Body> {
        if let Some((required, balance)) = self.credit {
            let body = json!({
                "success": false, "error": self.error, "requiredBalance": required,
                "currentBalance": balance,
            });
            let response = Response::builder()
                .status(self.status)
                .header("content-type", "application/json")
                .header("cache-control", "no-store")
                .body(Body::Text(body.to_string()));
            return response.unwrap_or_default();
        }
        let mut body = json!({
            "type": "about:blank", "title": self.title, "status": self.status,
            "detail": self.error, "instance": request_id, "success": false, "error": self.error,
        });
        if let (Some(body), false) = (body.as_object_mut(), self.details.is_empty()) {
            body.insert("details".to_owned(), json!(self.details));
        }
        let mut response = Response::builder()
            .status(self.status)
            .header("content-type", "application/problem+json")
            .header("cache-control", "no-store");
        if let Some(seconds) = self.retry_after {
            response = response.header("retry-after", seconds);
        }
        response
            .body(Body::Text(body.to_string()))
            .unwrap_or_default()
    }
}

/// Trouble with the database is 503: the caller may try again. What cannot get better by itself is
/// 500.
impl From<sqlx::Error> for Problem {
    fn from(failure: sqlx::Error) -> Self {
        error!(error = db::error_class(&failure), "database error");
        match db::failure(&failure) {
            db::Failure::Unavailable | db::Failure::Conflict => Self::unavailable(),
            db::Failure::Other => Self::internal(),
        }
    }
}

impl From<RequestError> for Problem {
    fn from(failure: RequestError) -> Self {
        match failure {
            RequestError::NotFound(text) => Self::not_found(text),
            RequestError::NotNow(reason) => Self::conflict(reason.0),
            RequestError::Conflict(text) => Self::conflict(&text),
            RequestError::Invalid { field, message } => Self::field(field, message),
            RequestError::Credit(refusal) => Self::payment_required(&refusal),
            RequestError::KeyReused => Self::unprocessable(&failure.to_string()),
            RequestError::Away(text) => Self::unavailable_for(30, text),
            RequestError::BadAgent(text) => Self::bad_gateway(&text),
            RequestError::KeyBusy => Self::conflict(&failure.to_string()),
            RequestError::Database(failure) => failure.into(),
        }
    }
}

/// What is cached is not to be had, or not to be read until somebody has written it anew.
impl From<CacheError> for Problem {
    fn from(_: CacheError) -> Self {
        Self::unavailable()
    }
}

/// The texts name no address. Without the key there is nothing to ask with.
impl From<VpnError> for Problem {
    fn from(failure: VpnError) -> Self {
        match failure {
            VpnError::NoKey => Self::unavailable(),
            _ => Self::bad_gateway(&failure.to_string()),
        }
    }
}

impl From<TickError> for Problem {
    fn from(failure: TickError) -> Self {
        match failure {
            TickError::Database(failure) => failure.into(),
            TickError::TooFarAhead | TickError::AdoptionRequired => {
                Self::conflict(&failure.to_string())
            }
            TickError::Incomplete(_) => Self::unavailable(),
        }
    }
}
