//! A Lambda function that does what its event says; the tests of the stack start it.

use std::time::Duration;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    if std::env::var_os("FAIL_AT_START").is_some() {
        std::process::exit(3);
    }
    lambda_runtime::run(service_fn(obey)).await
}

async fn obey(event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    // Through the gateway the order comes in the body, through the event bus in the detail.
    let body: Option<Value> = payload["body"]
        .as_str()
        .and_then(|body| serde_json::from_str(body).ok());
    let detail = payload.get("detail").filter(|detail| detail.is_object());
    let order = body.as_ref().or(detail).unwrap_or(&payload);
    match order["do"].as_str() {
        Some("fail") => Err(refusal()),
        Some("note") => {
            note(order, &payload).await?;
            match order["then"].as_str() {
                Some("fail") => Err(refusal()),
                _ => Ok(Value::Null),
            }
        }
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

fn refusal() -> Diagnostic {
    Diagnostic {
        error_type: "Refused".to_owned(),
        error_message: "as ordered".to_owned(),
    }
}

/// Adds the event as a line to the file that the order names.
async fn note(order: &Value, event: &Value) -> Result<(), Diagnostic> {
    let write = async {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(order["file"].as_str().unwrap_or_default())
            .await?;
        file.write_all(format!("{event}\n").as_bytes()).await?;
        file.flush().await
    };
    write.await.map_err(|error| Diagnostic {
        error_type: "NotNoted".to_owned(),
        error_message: error.to_string(),
    })
}
