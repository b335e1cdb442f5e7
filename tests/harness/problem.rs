//! Checks responses that hold a problem document (RFC 9457).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::suite::Response;

/// Checks that a response holds a problem document with this status and text and without field errors.
#[track_caller]
pub fn check_problem(response: &Response, status: u16, text: &str) {
    check_document(response, &document(response, status, text));
}

/// Checks that a response is a 400 with this text and these field errors, each a field and its message.
#[track_caller]
pub fn check_field_errors(response: &Response, text: &str, errors: &[(&str, &str)]) {
    let mut expected = document(response, 400, text);
    let errors = errors.iter();
    expected["details"] = errors
        .map(|(field, message)| json!({"field": field, "message": message}))
        .collect();
    check_document(response, &expected);
}

/// Checks that a response is a problem document with this status and text that names a limit, with what is used and
/// allowed of it.
#[track_caller]
pub fn check_limit(response: &Response, status: u16, text: &str, limit: (&str, i64, i64)) {
    let mut expected = document(response, status, text);
    let (name, used, allowed) = limit;
    expected["limit"] = json!(name);
    expected["used"] = json!(used);
    expected["allowed"] = json!(allowed);
    check_document(response, &expected);
}

/// The document without field errors. The id of the request is the response's own.
fn document(response: &Response, status: u16, text: &str) -> Value {
    json!({
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": text,
        "instance": response.json()["instance"],
        "success": false,
        "error": text,
    })
}

#[track_caller]
fn check_document(response: &Response, expected: &Value) {
    assert_eq!(response.json(), *expected);
    assert_eq!(json!(response.status()), expected["status"]);
    assert_eq!(
        (
            response.header("content-type"),
            response.header("cache-control")
        ),
        (Some("application/json"), Some("no-store"))
    );
    let request_id = expected["instance"].as_str().map(Uuid::parse_str);
    assert!(matches!(request_id, Some(Ok(_))), "{expected}");
}

/// The reason phrase of a status in RFC 9110.
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        other => panic!("no problem document has the status {other}"),
    }
}
