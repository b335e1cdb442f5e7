//! A Lambda function that does what its event says; the tests of the stack start it.

use std::time::Duration;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    if std::env::var_os("FAIL_AT_START").is_some() {
        std::process::exit(3);
    }
    lambda_runtime::run(service_fn(obey)).await
}

async fn obey(event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    // Through the gateway the order comes in the body.
    let body: Option<Value> = payload["body"]
        .as_str()
        .and_then(|body| serde_json::from_str(body).ok());
    let order = body.as_ref().unwrap_or(&payload);
    match order["do"].as_str() {
        Some("fail") => Err(Diagnostic {
            error_type: "Refused".to_owned(),
            error_message: "as ordered".to_owned(),
        }),
        Some("crash") => std::process::exit(7),
        Some("sleep") => {
            tokio::time::sleep(Duration::from_mins(1)).await;
            Ok(Value::Null)
        }
        Some("big") => Ok(json!("x".repeat(7 * 1024 * 1024))),
        Some("say") => {
            println!("said");
            Ok(json!({
                "deadline_ms": context.deadline,
                "function": context.env_config.function_name,
                "pid": std::process::id(),
                "home": std::env::var_os("HOME").is_some(),
            }))
        }
        _ => Ok(payload),
    }
}
