//! The loop of functions that handle HTTP requests. Owns: that requests come through what stands in front of the API, the
//! size limit of bodies, the time limit of responses, the headers of every response, and the one log line per request.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use lambda_http::{Body, Request, RequestExt, Response, service_fn};
use tracing::{Instrument, error, field, info, info_span, warn};

use super::meter::InvocationStats;
use super::origin::OriginSecrets;
use super::runtime;
use crate::api::body::MAX_BODY_BYTES;
use crate::api::problem::{self, Problem};
use crate::api::response::{StreamedBody, add_security_headers, streamed};
use crate::domain::payload::{LAMBDA_MAX_BYTES, base64_length, escaped_length};
use crate::invocation::Invocation;

/// Below the functions' own timeout of 29 s: our response tells the caller more than the gateway's.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(28);
/// What the runtime needs to send the response before its deadline.
const SEND_RESERVE: Duration = Duration::from_millis(500);
/// For the status and the headers of a response, with the JSON around them and the body.
const HEADERS_RESERVE: usize = 64 * 1024;

/// Serves HTTP requests until the process ends. A handler that takes longer than `RESPONSE_TIMEOUT` is
/// cancelled, and its request gets a 503.
///
/// # Errors
/// The runtime API cannot be reached, or the secret of what stands in front of the API is missing.
pub async fn serve_http<F, Fut>(
    route: &'static str,
    handler: F,
) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Request, Invocation) -> Fut + Sync,
    Fut: Future<Output = Result<Response<Body>, Problem>> + Send,
{
    let handler = |request, invocation: Invocation| {
        let timeout = invocation.time_left(SEND_RESERVE).min(RESPONSE_TIMEOUT);
        // Boxed: in release builds the nested futures of unboxed handlers exceed the compiler's recursion limit.
        let response = Box::pin(handler(request, invocation));
        async move {
            let response = tokio::time::timeout(timeout, response)
                .await
                .unwrap_or_else(|_| {
                    warn!("handler cancelled at its time limit; responding 503");
                    Err(Problem::unavailable())
                });
            response.and_then(check_length)
        }
    };
    let handler = &handler;
    let origin = &OriginSecrets::from_settings()?;
    lambda_http::run(service_fn(move |request| {
        serve_request(route, request, origin, handler, |body| body)
    }))
    .await
}

/// Replaces a response that is too long for Lambda, which would answer 500 without a body (F92).
fn check_length(response: Response<Body>) -> Result<Response<Body>, Problem> {
    let length = match response.body() {
        Body::Text(text) => escaped_length(text),
        Body::Binary(bytes) => base64_length(bytes.len()),
        _ => 0,
    };
    if length + HEADERS_RESERVE <= LAMBDA_MAX_BYTES {
        return Ok(response);
    }
    error!(length, "response is too long for Lambda; responding 500");
    Err(Problem::internal())
}

/// Like [`serve_http`], for a function that streams its responses through a Lambda function URL. No time limit is
/// applied here: the handler must observe its deadline. The log line is written when the response begins.
///
/// # Errors
/// As of [`serve_http`].
pub async fn serve_stream<F, Fut>(
    route: &'static str,
    handler: F,
) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Request, Invocation) -> Fut + Sync,
    Fut: Future<Output = Result<Response<StreamedBody>, Problem>> + Send,
{
    let handler = |request, invocation| Box::pin(handler(request, invocation));
    let handler = &handler;
    let origin = &OriginSecrets::from_settings()?;
    lambda_http::run_with_streaming_response(service_fn(move |request| {
        serve_request(route, request, origin, handler, streamed)
    }))
    .await
}

/// Calls the handler and logs the request. `into_body` converts the body of a [`Problem`]'s response to `B`.
async fn serve_request<B, F, Fut>(
    route: &'static str,
    mut request: Request,
    origin: &OriginSecrets,
    handler: &F,
    into_body: fn(Body) -> B,
) -> Result<Response<B>, Infallible>
where
    F: Fn(Request, Invocation) -> Fut,
    Fut: Future<Output = Result<Response<B>, Problem>>,
{
    let invocation = runtime::invocation(&request.lambda_context());
    let request_id = invocation.request_id.clone();
    let span = info_span!("request", route, request_id, caller = field::Empty);
    async {
        let stats = InvocationStats::start();
        let content_type = problem::content_type(request.headers());
        let result = if !origin.admits(request.headers_mut()) {
            Err(Problem::forbidden(
                "This address is not open to callers; use that of the service",
            ))
        } else if request.body().len() > MAX_BODY_BYTES {
            Err(Problem::too_large())
        } else {
            handler(request, invocation).await
        };
        let mut response = result.unwrap_or_else(|problem| {
            problem
                .into_response(&request_id, content_type)
                .map(into_body)
        });
        add_security_headers(response.headers_mut());
        if let Ok(id) = request_id.parse() {
            response.headers_mut().insert("x-request-id", id);
        }
        info!(
            status = response.status().as_u16(),
            duration_ms = stats.duration_ms(),
            db_queries = stats.db_queries(),
            cold_start = stats.is_cold_start(),
            "{route} responded"
        );
        Ok(response)
    }
    .instrument(span)
    .await
}
