//! The loop of functions that answer HTTP requests.

use std::convert::Infallible;
use std::future::Future;

use lambda_http::{Body, Request, RequestExt, Response, service_fn};
use tracing::{Instrument, field, info, info_span};

use super::invocation::{Invocation, Meter};
use crate::api::problem::Problem;

/// Serves requests until the process ends. Every answer carries `X-Request-Id`, and every request
/// leaves one line in the log.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve_http<F, Fut>(
    route: &'static str,
    handler: F,
) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Request, Invocation) -> Fut + Sync,
    Fut: Future<Output = Result<Response<Body>, Problem>> + Send,
{
    let handler = &handler;
    lambda_http::run(service_fn(move |request: Request| async move {
        let invocation = Invocation::new(&request.lambda_context());
        let request_id = invocation.request_id.clone();
        let span = info_span!("request", route, request_id, caller = field::Empty);
        async {
            let meter = Meter::start();
            let result = handler(request, invocation).await;
            let mut response = result.unwrap_or_else(|problem| problem.into_response(&request_id));
            if let Ok(id) = request_id.parse() {
                response.headers_mut().insert("x-request-id", id);
            }
            info!(
                status = response.status().as_u16(),
                duration_ms = meter.duration_ms(),
                db_queries = meter.queries(),
                cold_start = meter.cold_start(),
                "{route} answered"
            );
            Ok::<_, Infallible>(response)
        }
        .instrument(span)
        .await
    }))
    .await
}
