//! Passes requests on to the emulator and records the calls that they are.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode};
use reqwest::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::calls::{self, Call};

/// As in `DynamoDB`.
const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;

/// A running server, until its task is aborted.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) task: JoinHandle<()>,
}

#[derive(Clone)]
struct Emulator {
    client: Client,
    url: String,
}

impl Server {
    pub(super) async fn before(emulator: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for recording the calls of DynamoDB")?;
        let address = listener.local_addr()?;
        let emulator = Emulator {
            client: Client::builder().no_proxy().build()?,
            url: format!("http://{emulator}/"),
        };
        let router = Router::new()
            .fallback(pass_on)
            .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
            .with_state(emulator);
        let task = tokio::spawn(async move {
            // Only a broken listener ends this; every request then fails visibly.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }
}

async fn pass_on(
    State(emulator): State<Emulator>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    record(&headers, &body);
    let request = emulator.client.post(&emulator.url);
    let answer = request.headers(headers).body(body).send().await;
    let passed_on = async {
        let answer = answer.ok()?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        let body = answer.bytes().await.ok()?;
        response.body(Body::from(body)).ok()
    };
    passed_on.await.unwrap_or_else(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

fn record(headers: &HeaderMap, body: &[u8]) {
    let header = |name: &str| headers.get(name).and_then(|text| text.to_str().ok());
    let signed = header("authorization").unwrap_or_default();
    let target = header("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    // A policy allows the parts of a transaction, not the transaction.
    if let Some(parts) = request["TransactItems"].as_array() {
        for part in parts {
            for (kind, part) in part.as_object().into_iter().flatten() {
                let operation = match kind.as_str() {
                    "ConditionCheck" => "ConditionCheckItem".to_owned(),
                    kind => format!("{kind}Item"),
                };
                record_operation(signed, &operation, part);
            }
        }
    } else {
        record_operation(signed, operation, &request);
    }
}

fn record_operation(signed: &str, operation: &str, request: &Value) {
    let keys = [&request["Key"]["pk"]["S"], &request["Item"]["pk"]["S"]];
    let call = Call {
        action: &format!("dynamodb:{operation}"),
        resource: request["TableName"].as_str().unwrap_or_default(),
        leading_keys: keys.into_iter().filter_map(Value::as_str).collect(),
    };
    calls::record(signed, &call);
}
