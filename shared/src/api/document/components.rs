//! The parts of the document that do not come from the routes: its texts, the headers, and how callers authenticate.

use serde_json::{Value, json};

use crate::api::route::Tag;

pub(super) const DESCRIPTION: &str = "\
Every response has an `X-Request-Id`. A success is `{\"success\": true, ...}`. An error is an RFC 9457 problem that \
also has `\"success\": false` and repeats its text as `error`. It is `application/json`, or `application/problem+json` \
if `Accept` names that. Two responses have another body: 402, and the 409 of an agent for which a job is already active.

Dates are ISO 8601 in UTC with milliseconds. Money is in US dollars, a number with at most six decimals. Unknown \
keys in a request body are ignored, and an optional field may be null.

Responses must not be cached, except those with an `ETag`: a client may keep them and ask for them again with \
`If-None-Match`. The gateway in front of the API responds 429 above its rate limit. Where a limit of the API itself is \
reached, the problem names it in `limit`, with `used` and `allowed`.
";

pub(super) const CSV: &str = "\
RFC 4180: a line with the names of the members, then a line per row. At most 20,000 rows, or `limit`. A text that begins \
like a formula has an apostrophe before it.";

pub(super) const TAGS: [(Tag, &str); 7] = [
    (
        Tag::Agents,
        "Create, start and stop agents, talk to them, and restore their state.",
    ),
    (Tag::Jobs, "Follow the work that a request has queued."),
    (
        Tag::Credits,
        "See the balance, the forecast, the ledger and what was used.",
    ),
    (Tag::Session, "Sign a browser in and out."),
    (Tag::Admin, "For super admins."),
    (Tag::Cron, "For schedulers that hold the cron secret."),
    (Tag::Meta, "About the API itself."),
];

/// The name of a refusal's response, and its description.
pub(super) fn refusal_text(status: u16) -> (&'static str, &'static str) {
    match status {
        304 => (
            "NotModified",
            "The response has not changed since the client cached it.",
        ),
        400 => (
            "BadRequest",
            "The request is not valid. `details` names the fields.",
        ),
        401 => ("Unauthorized", "The credential is missing or not valid."),
        402 => ("PaymentRequired", "The credit is too low."),
        403 => (
            "Forbidden",
            "The account is not active, the caller may not do this, or the origin is not allowed.",
        ),
        404 => (
            "NotFound",
            "It does not exist, or belongs to another organization.",
        ),
        409 => (
            "Conflict",
            "The present state does not allow the request, the limit that `limit` names is reached, or the first request \
             with this key is still running.",
        ),
        413 => ("ContentTooLarge", "The body is larger than 1 MiB."),
        415 => (
            "UnsupportedMediaType",
            "The body is not `application/json`.",
        ),
        422 => (
            "UnprocessableContent",
            "The idempotency key was used for another request.",
        ),
        429 => (
            "TooManyRequests",
            "The limit that `limit` names is reached. Try again after `Retry-After`.",
        ),
        501 => ("NotImplemented", "This deployment cannot do it."),
        502 => (
            "BadGateway",
            "The response of an agent, a host or Headscale is not valid, or a host or the store of backups did not \
             respond.",
        ),
        503 => (
            "ServiceUnavailable",
            "Temporarily unavailable. Try again later.",
        ),
        _ => ("InternalServerError", "An error on our side."),
    }
}

pub(super) fn security_schemes() -> Value {
    let cookie = "Requests that change something also need an allowed `Origin`.";
    json!({
        "apiKey": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "An API key of the form `eliza_<64 hexadecimal digits>`.",
        },
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "An API key, or a Privy access token.",
        },
        "privyCookie": {
            "type": "apiKey", "in": "cookie", "name": "privy-token",
            "description": format!("A Privy access token. {cookie}"),
        },
        "sessionCookie": {
            "type": "apiKey", "in": "cookie", "name": "__Host-milady",
            "description": format!("The cookie that signing in has set. {cookie}"),
        },
        "cronSecret": {
            "type": "http", "scheme": "bearer",
            "description": "The cron secret of the deployment.",
        },
    })
}

pub(super) fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The id of the request in the logs.", "required": true,
            "schema": {"type": "string", "minLength": 1},
        },
        "ETag": {
            "description": "The version of the response.", "required": true,
            "schema": {"type": "string", "pattern": r#"^(W/)?"[^"]+"$"#},
        },
        "Link": {
            "description": "For CSV: where the next rows are, with `rel=\"next\"`. Absent on the last page.",
            "schema": {"type": "string"},
        },
        "Age": {
            "description": "The age of the snapshot, in seconds.", "required": true,
            "schema": {"type": "integer", "minimum": 0},
        },
        "Retry-After": {
            "description": "Seconds to wait before the next attempt.", "required": true,
            "schema": {"type": "integer", "minimum": 1},
        },
        "Set-Cookie": {
            "description": "Sets or clears the session cookie.", "required": true,
            "schema": {"type": "string", "pattern": "^__Host-milady="},
        },
    })
}
