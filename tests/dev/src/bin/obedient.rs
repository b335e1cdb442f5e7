//! A Lambda function that does what its event says; the tests of the stack start it. With `STREAM` set
//! it answers HTTP requests with streams.

use std::path::Path;
use std::time::Duration;

use lambda_http::lambda_runtime::streaming::{Body, Sender, channel};
use lambda_http::{Request, Response};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

#[tokio::main]
async fn main() -> Result<(), Error> {
    if std::env::var_os("FAIL_AT_START").is_some() {
        std::process::exit(3);
    }
    if std::env::var_os("STREAM").is_some() {
        return lambda_http::run_with_streaming_response(service_fn(stream)).await;
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

/// Says at once which process this is and what it was asked, and goes on once there is the file that the
/// order names as its gate.
async fn stream(request: Request) -> Result<Response<Body>, Diagnostic> {
    let order: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    if order["do"] == "fail" {
        return Err(refusal());
    }
    let said = json!({
        "pid": std::process::id(),
        "path": request.uri().path(),
        "order": order,
    });
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        // Fails when nobody reads the answer any more.
        let _ = sender.send_data(format!("{said}\n").into()).await;
        if let Some(gate) = order["gate"].as_str() {
            while !Path::new(gate).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let _ = go_on(&order, sender).await;
        if let Some(done) = order["done"].as_str() {
            let _ = tokio::fs::write(done, "").await;
        }
    });
    Response::builder()
        .status(201)
        .header("content-type", "text/event-stream")
        .header("access-control-allow-origin", "http://evil.example")
        .header("x-two", "a")
        .header("x-two", "b")
        .header("set-cookie", "c=1")
        .body(body)
        .map_err(|_| refusal())
}

async fn go_on(order: &Value, mut sender: Sender) -> Result<(), Error> {
    match order["do"].as_str() {
        Some("crash") => std::process::exit(7),
        Some("error") => sender.abort(),
        Some("big") => {
            for _ in 0..order["chunks"].as_u64().unwrap_or_default() {
                sender.send_data(vec![b'x'; 64 * 1024].into()).await?;
            }
        }
        _ => sender.send_data("last".into()).await?,
    }
    Ok(())
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
