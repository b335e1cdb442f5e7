//! The loop of functions that answer piece by piece, behind a URL of their own.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use lambda_http::{Body, Request, RequestExt, Response, service_fn};
use tracing::{Instrument, field, info, info_span};

use super::invocation::{Invocation, Meter};
use crate::api::body::LONGEST;
use crate::api::problem::Problem;

/// A body that is still being said.
pub type Streaming = UnsyncBoxBody<Bytes, Infallible>;

/// Serves requests until the process ends. Every answer carries `X-Request-Id`; the one line a request
/// leaves in the log is written when its answer begins.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve_stream<F, Fut>(
    route: &'static str,
    handler: F,
) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Request, Invocation) -> Fut + Sync,
    Fut: Future<Output = Result<Response<Streaming>, Problem>> + Send,
{
    let handler = &handler;
    lambda_http::run_with_streaming_response(service_fn(move |request: Request| async move {
        let invocation = Invocation::new(&request.lambda_context());
        let request_id = invocation.request_id.clone();
        let span = info_span!("request", route, request_id, caller = field::Empty);
        async {
            let meter = Meter::start();
            let result = if request.body().len() > LONGEST {
                Err(Problem::too_large())
            } else {
                // Boxed: what handlers wait for is nested deeper than the compiler likes.
                Box::pin(handler(request, invocation)).await
            };
            let mut response = result.unwrap_or_else(|problem| whole(problem, &request_id));
            if let Ok(id) = request_id.parse() {
                response.headers_mut().insert("x-request-id", id);
            }
            info!(
                status = response.status().as_u16(),
                duration_ms = meter.duration_ms(),
                db_queries = meter.queries(),
                cold_start = meter.cold_start(),
                "{route} answers"
            );
            Ok::<_, Infallible>(response)
        }
        .instrument(span)
        .await
    }))
    .await
}

fn whole(problem: Problem, request_id: &str) -> Response<Streaming> {
    problem.into_response(request_id).map(|body| {
        let bytes = match body {
            Body::Text(text) => Bytes::from(text),
            Body::Binary(bytes) => Bytes::from(bytes),
            _ => Bytes::new(),
        };
        Full::new(bytes).boxed_unsync()
    })
}
