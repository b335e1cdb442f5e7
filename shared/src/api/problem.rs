//! Errors as responses: RFC 9457 problem details, with the members `success` and `error` that clients test.
//! Owns: the only mapping from errors to status codes, the content type of errors, and the log line of an error that a
//! request ends with.

use std::borrow::Cow;

use lambda_http::http::HeaderMap;
use lambda_http::{Body, Response};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use tracing::{error, warn};

use super::accept;
use super::schema::Always;
use crate::app::billing::run::RunError;
use crate::app::error::RequestError;
use crate::cache::CacheError;
use crate::db;
use crate::domain::credit_gate::Refusal;
use crate::domain::limits::LimitReached;
use crate::domain::money::Money;
use crate::failure::Cause;
use crate::hosts::EngineError;
use crate::vpn::{VpnError, VpnErrorReason};

/// Seconds after which a client may try again.
///
/// The dashboard tells by them whether a 503 had an effect (`effectOf` in `functions/web/src/api/errors.ts`): of more
/// than 10 it says that nothing was done. An error after which something may have been done all the same must say
/// `SERVICE`. One does not, a start that names a webhook: it is committed before its secret is read. The dashboard
/// names none.
mod retry_after {
    /// The database or another of our services does not respond: usually over in seconds.
    pub const SERVICE: u32 = 5;
    /// A host does not respond.
    pub const HOST: u32 = 30;
    /// An operator must change the deployment's settings first.
    pub const SETTINGS: u32 = 600;
    /// The first request with an idempotency key still runs: most requests end within seconds.
    pub const FIRST_REQUEST: u32 = 2;
}

const JSON: &str = "application/json";
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The content type of an error. Only a client that names problem documents gets one: others read a body only if its
/// type says `application/json`.
#[must_use]
pub fn content_type(headers: &HeaderMap) -> &'static str {
    if accept::weight(headers, PROBLEM_JSON) > Decimal::ZERO {
        PROBLEM_JSON
    } else {
        JSON
    }
}

/// A field of the request that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: &'static str,
    /// Follows the field's name in a sentence: `must be a UUID`.
    pub message: Cow<'static, str>,
}

/// An error as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    title: &'static str,
    error: String,
    details: Vec<FieldError>,
    /// Seconds.
    retry_after: Option<u32>,
    /// The limit that is reached.
    limit: Option<Box<ReachedLimit>>,
    /// Only for 402, which has a body of its own.
    credit: Option<MissingCredit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReachedLimit {
    name: &'static str,
    used: i64,
    allowed: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct MissingCredit {
    required_balance: Money,
    current_balance: Money,
}

impl Problem {
    fn new(status: u16, title: &'static str, error: impl Into<String>) -> Self {
        Self {
            status,
            title,
            error: error.into(),
            details: Vec::new(),
            retry_after: None,
            limit: None,
            credit: None,
        }
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// 400 for one field.
    #[must_use]
    pub fn field(field: &'static str, message: &'static str) -> Self {
        let message = message.into();
        Self::bad_request(vec![FieldError { field, message }])
    }

    /// 400 with one entry per field that is not valid.
    #[must_use]
    pub fn bad_request(details: Vec<FieldError>) -> Self {
        let error = match details.as_slice() {
            [] => "The request is not valid".to_owned(),
            [only] => format!("{} {}", only.field, only.message),
            [FieldError { field, message }, others @ ..] => {
                format!("{field} {message}, and {} more", others.len())
            }
        };
        Self {
            details,
            ..Self::new(400, "Bad Request", error)
        }
    }

    /// 400 for one field, with an error text of its own.
    #[must_use]
    pub fn bad_value(error: String, detail: FieldError) -> Self {
        Self {
            details: vec![detail],
            ..Self::new(400, "Bad Request", error)
        }
    }

    /// 401: no credential, or one that is not valid.
    #[must_use]
    pub fn unauthorized(error: &str) -> Self {
        Self::new(401, "Unauthorized", error)
    }

    /// 402: not enough credit.
    #[must_use]
    pub fn payment_required(refusal: &Refusal) -> Self {
        Self {
            credit: Some(MissingCredit {
                required_balance: refusal.required,
                current_balance: refusal.balance,
            }),
            ..Self::new(402, "Payment Required", refusal.to_string())
        }
    }

    /// 403: the caller is known and may not do this.
    #[must_use]
    pub fn forbidden(error: &str) -> Self {
        Self::new(403, "Forbidden", error)
    }

    /// 404: it does not exist, or belongs to another organization.
    #[must_use]
    pub fn not_found(error: &str) -> Self {
        Self::new(404, "Not Found", error)
    }

    /// 409: the present state does not allow it.
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

    /// 422: the request is valid and contradicts an earlier one.
    #[must_use]
    pub fn unprocessable(error: &str) -> Self {
        Self::new(422, "Unprocessable Content", error)
    }

    /// 429: a limit is reached for this many seconds.
    #[must_use]
    pub fn too_many_requests(seconds: u32, error: impl Into<String>) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(429, "Too Many Requests", error)
        }
    }

    /// Adds the name of the limit that is reached, and the figures.
    #[must_use]
    pub fn with_limit(mut self, name: &'static str, used: i64, allowed: i32) -> Self {
        self.limit = Some(Box::new(ReachedLimit {
            name,
            used,
            allowed,
        }));
        self
    }

    /// 500, with a constant text. Use [`log_internal`] where there is a cause to log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            500,
            "Internal Server Error",
            "Something went wrong on our side",
        )
    }

    /// 503: the client may try again in a few seconds.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::unavailable_for(
            retry_after::SERVICE,
            "The service is temporarily unavailable, please try again",
        )
    }

    /// 503: an operator must set something up first.
    #[must_use]
    pub fn not_configured(error: &str) -> Self {
        Self::unavailable_for(retry_after::SETTINGS, error)
    }

    /// 501: this deployment cannot do it.
    #[must_use]
    pub fn not_implemented(error: &str) -> Self {
        Self::new(501, "Not Implemented", error)
    }

    /// 502: a host, an agent or Headscale responded, but not as it should.
    #[must_use]
    pub fn bad_gateway(error: &str) -> Self {
        Self::new(502, "Bad Gateway", error)
    }

    /// 502 if an operator's action on a host fails. Not 503: the operator asked for the host's own result, so the
    /// failure is the answer.
    #[must_use]
    pub fn host_failed(error: &EngineError) -> Self {
        warn!(%error, cause = error.cause(), "host error; request failed");
        Self::bad_gateway(&error.to_string())
    }

    /// 503: the client may try again after this many seconds.
    #[must_use]
    pub fn unavailable_for(seconds: u32, error: impl Into<String>) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(503, "Service Unavailable", error)
        }
    }

    /// The response to a request with this id, of the [`content_type`] that its headers ask for.
    #[must_use]
    pub fn into_response(self, request_id: &str, content_type: &str) -> Response<Body> {
        if let Some(credit) = self.credit {
            let body = PaymentRequiredBody {
                success: Always,
                error: self.error,
                required_balance: credit.required_balance,
                current_balance: credit.current_balance,
            };
            return render(self.status, JSON, None, &body);
        }
        let limit = self.limit.as_deref();
        let body = ProblemBody {
            type_: "about:blank",
            title: self.title,
            status: self.status,
            detail: &self.error,
            instance: request_id,
            success: Always,
            error: &self.error,
            details: &self.details,
            limit: limit.map(|limit| limit.name),
            used: limit.map(|limit| limit.used),
            allowed: limit.map(|limit| limit.allowed),
        };
        render(self.status, content_type, self.retry_after, &body)
    }
}

fn render(
    status: u16,
    content_type: &str,
    retry_after: Option<u32>,
    body: &impl Serialize,
) -> Response<Body> {
    let mut response = Response::builder()
        .status(status)
        .header("content-type", content_type)
        .header("cache-control", "no-store");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    let text = serde_json::to_string(body).unwrap_or_default();
    response.body(Body::Text(text)).unwrap_or_default()
}

/// The body of a refusal: a problem of RFC 9457.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct ProblemBody<'a> {
    #[serde(rename = "type")]
    #[schemars(extend("const" = "about:blank"))]
    type_: &'static str,
    title: &'static str,
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    detail: &'a str,
    /// The id of the request.
    #[schemars(length(min = 1))]
    instance: &'a str,
    success: Always<false>,
    /// The same text as `detail`.
    error: &'a str,
    /// One entry per field that is not valid.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schemars(length(min = 1))]
    details: &'a [FieldError],
    /// The name of the limit that is reached, if one is. It stays the same, and `detail` may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    limit: Option<&'static str>,
    /// How many there are of what the limit counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = 0))]
    used: Option<i64>,
    /// How many the limit allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", extend("minimum" = 0))]
    allowed: Option<i32>,
}

/// The body of a 402.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PaymentRequired")]
pub struct PaymentRequiredBody {
    success: Always<false>,
    error: String,
    required_balance: Money,
    current_balance: Money,
}

/// For `map_err`: logs the error's class with `message`, and makes it a 500.
pub fn log_internal<C: Cause>(message: &'static str) -> impl FnOnce(C) -> Problem {
    move |cause| {
        error!(error = cause.class(), "{message}; responding 500");
        Problem::internal()
    }
}

/// 503 if trying again can help, 500 otherwise.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        error!(
            error = db::error_class(&error),
            "database error; request failed"
        );
        match db::classify(&error) {
            db::DatabaseFailure::Unavailable | db::DatabaseFailure::Conflict => Self::unavailable(),
            db::DatabaseFailure::Other => Self::internal(),
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        if let Some(cause) = error.cause() {
            warn!(%error, cause, "host or agent error; request failed");
        }
        match error {
            RequestError::NotFound(text) => Self::not_found(text),
            RequestError::StatusConflict(reason) => Self::conflict(reason.0),
            RequestError::Conflict(text) => Self::conflict(&text),
            RequestError::Invalid { field, message } => Self::field(field, message),
            RequestError::Credit(refusal) => Self::payment_required(&refusal),
            RequestError::LimitReached(reached) => reached.into(),
            RequestError::TooSoon { limit, retry_after } => {
                let seconds = u32::try_from(retry_after.num_seconds()).unwrap_or(u32::MAX);
                Self::too_many_requests(seconds, error.to_string()).with_limit(limit, 1, 1)
            }
            RequestError::IdempotencyKeyReused => Self::unprocessable(&error.to_string()),
            RequestError::HostUnavailable(error) => {
                Self::unavailable_for(retry_after::HOST, error.to_string())
            }
            RequestError::AgentFault(fault) => Self::bad_gateway(&fault.to_string()),
            // The only 409 with `Retry-After`: clients repeat the request by it.
            RequestError::IdempotencyKeyInUse => Self {
                retry_after: Some(retry_after::FIRST_REQUEST),
                ..Self::conflict(&error.to_string())
            },
            RequestError::Encryption(error) => {
                error!(%error, cause = error.cause(), "check SECRETS_KEYS; request failed");
                Self::not_configured(&error.to_string())
            }
            RequestError::Database(error) => error.into(),
        }
    }
}

/// 429 if waiting helps, 409 otherwise.
impl From<LimitReached> for Problem {
    fn from(reached: LimitReached) -> Self {
        let text = reached.to_string();
        let problem = match reached.retry_after_seconds() {
            Some(seconds) => Self::too_many_requests(seconds, text),
            None => Self::conflict(&text),
        };
        problem.with_limit(reached.name(), reached.used, reached.allowed)
    }
}

/// The cache has logged the cause. The next refresh run writes a new snapshot.
impl From<CacheError> for Problem {
    fn from(_: CacheError) -> Self {
        Self::unavailable()
    }
}

/// The texts hold no address. `vpn` has logged the cause of a bad response.
impl From<VpnError> for Problem {
    fn from(error: VpnError) -> Self {
        match error.reason() {
            VpnErrorReason::NoKey => {
                warn!(%error, cause = error.cause(), "Headscale not asked; request failed");
                Self::unavailable()
            }
            _ => Self::bad_gateway(&error.to_string()),
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Database(error) => error.into(),
            RunError::TooFarAhead | RunError::AdoptionRequired => {
                Self::conflict(&error.to_string())
            }
            RunError::Incomplete(_) | RunError::SchemaChanged(_) => Self::unavailable(),
        }
    }
}
