//! The loop of functions that are invoked with an event.

use std::fmt::{Debug, Display};
use std::future::Future;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use tracing::{Instrument, error, info, info_span};

use super::invocation::{Invocation, Meter};

/// Serves events until the process ends. An error makes the invocation fail, so that its caller
/// tries again; its `Display` is what the caller and the log see.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve_events<F, Fut, T, E>(
    function: &'static str,
    handler: F,
) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Value, Invocation) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    T: Serialize,
    E: Display + Debug,
{
    let handler = &handler;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let invocation = Invocation::new(&event.context);
        let span = info_span!("invocation", function, request_id = invocation.request_id);
        async {
            let meter = Meter::start();
            // Boxed: what handlers wait for is nested deeper than the compiler likes.
            let result = Box::pin(handler(event.payload, invocation)).await;
            let (duration_ms, db_queries) = (meter.duration_ms(), meter.queries());
            let cold_start = meter.cold_start();
            match result {
                Ok(answer) => {
                    info!(
                        ok = true,
                        duration_ms, db_queries, cold_start, "{function} done"
                    );
                    serde_json::to_value(answer).map_err(|_| failed("the answer has no JSON form"))
                }
                Err(failure) => {
                    error!(ok = false, duration_ms, db_queries, cold_start, error = %failure,
                        "{function} failed");
                    Err(failed(failure))
                }
            }
        }
        .instrument(span)
        .await
    }))
    .await
}

fn failed(error: impl Display) -> Diagnostic {
    Diagnostic {
        error_type: "FunctionError".to_owned(),
        error_message: error.to_string(),
    }
}
