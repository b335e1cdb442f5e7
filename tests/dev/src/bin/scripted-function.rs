//! A Lambda function for the tests of the stack. Its event says how it behaves. With `STREAM` set
//! it answers HTTP requests with streamed responses.

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
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    // Through the gateway the instruction is in the body, through the event bus in the detail. A queue puts the event into
    // the body of a message.
    let parsed = |body: &Value| -> Option<Value> { serde_json::from_str(body.as_str()?).ok() };
    let body = parsed(&payload["body"]);
    let message = parsed(&payload["Records"][0]["body"]);
    let event = message.as_ref().unwrap_or(&payload);
    let detail = event.get("detail").filter(|detail| detail.is_object());
    let instruction = body.as_ref().or(detail).unwrap_or(&payload);
    match instruction["do"].as_str() {
        Some("fail") => Err(requested_failure()),
        Some("note") => {
            record(instruction, &payload).await?;
            match instruction["then"].as_str() {
                Some("fail") => Err(requested_failure()),
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
            println!("log line");
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

/// Sends its process id and the instruction at once, and continues when the file named by the
/// instruction's `gate` exists.
async fn stream(request: Request) -> Result<Response<Body>, Diagnostic> {
    let instruction: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    if instruction["do"] == "fail" {
        return Err(requested_failure());
    }
    let first_chunk = json!({
        "pid": std::process::id(),
        "path": request.uri().path(),
        "instruction": instruction,
    });
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        // Fails if the client no longer reads.
        let _ = sender.send_data(format!("{first_chunk}\n").into()).await;
        if let Some(gate) = instruction["gate"].as_str() {
            while !Path::new(gate).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let _ = finish_stream(&instruction, sender).await;
        if let Some(finished) = instruction["finished"].as_str() {
            let _ = tokio::fs::write(finished, "").await;
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
        .map_err(|_| requested_failure())
}

async fn finish_stream(instruction: &Value, mut sender: Sender) -> Result<(), Error> {
    match instruction["do"].as_str() {
        Some("crash") => std::process::exit(7),
        Some("error") => sender.abort(),
        Some("big") => {
            for _ in 0..instruction["chunks"].as_u64().unwrap_or_default() {
                sender.send_data(vec![b'x'; 64 * 1024].into()).await?;
            }
        }
        _ => sender.send_data("last".into()).await?,
    }
    Ok(())
}

fn requested_failure() -> Diagnostic {
    Diagnostic {
        error_type: "Refused".to_owned(),
        error_message: "as instructed".to_owned(),
    }
}

/// Appends the event as a line to the file that the instruction names.
async fn record(instruction: &Value, event: &Value) -> Result<(), Diagnostic> {
    let write = async {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(instruction["file"].as_str().unwrap_or_default())
            .await?;
        file.write_all(format!("{event}\n").as_bytes()).await?;
        file.flush().await
    };
    write.await.map_err(|error| Diagnostic {
        error_type: "NotRecorded".to_owned(),
        error_message: error.to_string(),
    })
}
