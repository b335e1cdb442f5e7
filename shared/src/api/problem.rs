//! Errors as answers: RFC 9457 problem details joined with the members that clients test. Owns: the
//! only mapping from errors to status codes.

use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::json;
use tracing::error;

use crate::app::billing_tick::TickError;
use crate::db;

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
}

impl Problem {
    fn new(status: u16, title: &'static str, error: impl Into<String>) -> Self {
        Self {
            status,
            title,
            error: error.into(),
            details: Vec::new(),
            retry_after: None,
        }
    }

    /// 400 with one entry per refused field.
    #[must_use]
    pub fn bad_request(details: Vec<Detail>) -> Self {
        Self {
            details,
            ..Self::new(400, "Bad Request", "The request is not valid")
        }
    }

    /// 401: no credential, or a bad one.
    #[must_use]
    pub fn unauthorized(error: &str) -> Self {
        Self::new(401, "Unauthorized", error)
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
        let error = "The service is temporarily unavailable, please try again";
        Self {
            retry_after: Some(5),
            ..Self::new(503, "Service Unavailable", error)
        }
    }

    /// The answer.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response<Body> {
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
