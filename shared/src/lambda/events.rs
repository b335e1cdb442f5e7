//! The loop of functions that are invoked with an event. Owns: the one log line per event.

use std::fmt::{Debug, Display};
use std::future::Future;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use tracing::{Instrument, error, info, info_span};

use super::meter::InvocationStats;
use super::runtime;
use crate::failure::Cause;
use crate::invocation::Invocation;

/// Serves events until the process ends. If the handler fails, the invocation fails and its caller tries
/// again; the caller and the log get the error's `Display`.
///
/// # Errors
/// The runtime API cannot be reached.
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
        let invocation = runtime::invocation(&event.context);
        let span = info_span!("invocation", function, request_id = invocation.request_id);
        async {
            let stats = InvocationStats::start();
            // Boxed: the compiler gives up on the depth of unboxed handlers in release builds.
            let result = Box::pin(handler(event.payload, invocation)).await;
            let duration_ms = stats.duration_ms();
            let db_queries = stats.db_queries();
            let cold_start = stats.is_cold_start();
            match result {
                Ok(output) => {
                    info!(
                        ok = true,
                        duration_ms, db_queries, cold_start, "{function} succeeded"
                    );
                    serde_json::to_value(output).map_err(|error| {
                        error!(
                            error = error.class(),
                            "output of {function} has no JSON form"
                        );
                        diagnostic("the output has no JSON form")
                    })
                }
                Err(error) => {
                    error!(ok = false, duration_ms, db_queries, cold_start, %error,
                        "{function} failed");
                    Err(diagnostic(error))
                }
            }
        }
        .instrument(span)
        .await
    }))
    .await
}

fn diagnostic(error: impl Display) -> Diagnostic {
    Diagnostic {
        error_type: "FunctionError".to_owned(),
        error_message: error.to_string(),
    }
}
