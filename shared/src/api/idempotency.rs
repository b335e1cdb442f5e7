//! The `Idempotency-Key` header. Owns: reading it, and which requests count as the same request.

use std::time::{Duration, Instant};

use lambda_http::Request;
use lambda_http::http::HeaderValue;
use sha2::{Digest, Sha256};

use super::auth::Caller;
use super::older_paths;
use super::problem::Problem;
use crate::app::idempotency::IdempotencyKey;
use crate::db::requests::idempotency::KeyScope;
use crate::invocation::Invocation;

const HEADER: &str = "idempotency-key";
const MAX_KEY_BYTES: usize = 255;
/// The timeout of HTTP functions in `template.yaml`: a call without a known deadline is over by then.
const MAX_CALL_DURATION: Duration = Duration::from_secs(29);

/// The key of a request on a route that does not demand one.
///
/// # Errors
/// 400 if the key is empty, longer than 255 characters or not visible ASCII.
pub fn optional(
    request: &Request,
    caller: &Caller,
    route: &'static str,
    invocation: &Invocation,
) -> Result<IdempotencyKey, Problem> {
    let Some(header) = request.headers().get(HEADER) else {
        return Ok(IdempotencyKey::default());
    };
    let key = parse(header).ok_or_else(|| {
        Problem::field(
            "Idempotency-Key",
            "must be 1 to 255 visible ASCII characters",
        )
    })?;
    let now = Instant::now();
    let remaining = invocation
        .deadline
        .map(|deadline| deadline.saturating_duration_since(now));
    Ok(IdempotencyKey {
        scope: Some(KeyScope {
            organization_id: caller.organization_id,
            user_id: caller.user_id,
            route,
            key: key.to_owned(),
            digest: digest(request),
        }),
        max_duration: remaining
            .unwrap_or(MAX_CALL_DURATION)
            .min(MAX_CALL_DURATION),
    })
}

/// The key of a request on a route that demands one.
///
/// # Errors
/// 400 if there is no valid key.
pub fn required(
    request: &Request,
    caller: &Caller,
    route: &'static str,
    invocation: &Invocation,
) -> Result<IdempotencyKey, Problem> {
    if !request.headers().contains_key(HEADER) {
        return Err(Problem::field("Idempotency-Key", "is required"));
    }
    optional(request, caller, route, invocation)
}

fn parse(header: &HeaderValue) -> Option<&str> {
    let key = header.to_str().ok()?;
    let is_valid =
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    is_valid.then_some(key)
}

/// Two requests are the same if their path, query, webhook and body are. An older path of a route counts as the path of
/// the route. Each part follows its length: the end of one part cannot be taken for the beginning of the next.
fn digest(request: &Request) -> Vec<u8> {
    let webhook = request.headers().get("x-webhook-url");
    let path = older_paths::current(request.uri().path());
    let mut hash = Sha256::new();
    for part in [
        path.as_bytes(),
        request.uri().query().unwrap_or_default().as_bytes(),
        webhook.map(HeaderValue::as_bytes).unwrap_or_default(),
        request.body().as_ref(),
    ] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}
