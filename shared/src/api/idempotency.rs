//! The `Idempotency-Key` header. Owns: reading it, and what makes two requests the same.

use std::time::{Duration, Instant};

use lambda_http::Request;
use sha2::{Digest, Sha256};

use super::auth::Caller;
use super::problem::Problem;
use crate::app::idempotency::Repeatable;
use crate::db::requests::idempotency::Scope;
use crate::lambda::Invocation;

const HEADER: &str = "idempotency-key";
/// An invocation without a known deadline is over by then.
const LONGEST_CALL: Duration = Duration::from_secs(29);

/// What a repeated call is recognized by; without the header, nothing.
///
/// # Errors
/// 400 for a key that is empty, longer than 255 characters or not visible ASCII.
pub fn optional(
    request: &Request,
    caller: &Caller,
    route: &'static str,
    invocation: &Invocation,
) -> Result<Repeatable, Problem> {
    let Some(header) = request.headers().get(HEADER) else {
        return Ok(Repeatable::default());
    };
    let bytes = header.as_bytes();
    let visible = (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    let key = header.to_str().ok().filter(|_| visible);
    let refused = "must be 1 to 255 visible ASCII characters";
    let key = key.ok_or_else(|| Problem::field("Idempotency-Key", refused))?;
    let now = Instant::now();
    let left = invocation
        .deadline
        .map(|at| at.saturating_duration_since(now));
    Ok(Repeatable {
        scope: Some(Scope {
            organization_id: caller.organization_id,
            user_id: caller.user_id,
            route,
            key: key.to_owned(),
            digest: digest(request),
        }),
        within: left.unwrap_or(LONGEST_CALL).min(LONGEST_CALL),
    })
}

/// The same where it must be there.
///
/// # Errors
/// 400.
pub fn required(
    request: &Request,
    caller: &Caller,
    route: &'static str,
    invocation: &Invocation,
) -> Result<Repeatable, Problem> {
    if !request.headers().contains_key(HEADER) {
        return Err(Problem::field("Idempotency-Key", "is required"));
    }
    optional(request, caller, route, invocation)
}

/// Two requests are the same if path, query, webhook and body are.
fn digest(request: &Request) -> Vec<u8> {
    let webhook = request.headers().get("x-webhook-url");
    let mut hash = Sha256::new();
    for part in [
        request.uri().path().as_bytes(),
        request.uri().query().unwrap_or_default().as_bytes(),
        webhook
            .map(lambda_http::http::HeaderValue::as_bytes)
            .unwrap_or_default(),
        request.body().as_ref(),
    ] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}
