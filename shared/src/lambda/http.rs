//! The loop of functions that answer HTTP requests.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use lambda_http::{Body, Request, RequestExt, Response, service_fn};
use tracing::{Instrument, field, info, info_span, warn};

use super::invocation::{Invocation, Meter};
use crate::api::body::LONGEST;
use crate::api::problem::Problem;

/// The gateway gives up after 29 seconds: the caller is told before.
const ANSWER_WITHIN: Duration = Duration::from_secs(28);
/// What the runtime needs to send the answer before its deadline.
const SPARE: Duration = Duration::from_millis(500);

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
            let result = if request.body().len() > LONGEST {
                Err(Problem::too_large())
            } else {
                let time = time_to_answer(&invocation);
                // Boxed: what handlers wait for is nested deeper than the compiler likes.
                let answering = Box::pin(handler(request, invocation));
                let answered = tokio::time::timeout(time, answering).await;
                answered.unwrap_or_else(|_| {
                    warn!("the time to answer was over");
                    Err(Problem::unavailable())
                })
            };
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

fn time_to_answer(invocation: &Invocation) -> Duration {
    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
    let left = invocation
        .deadline
        .map(|deadline| left(deadline).saturating_sub(SPARE));
    left.unwrap_or(ANSWER_WITHIN).min(ANSWER_WITHIN)
}
