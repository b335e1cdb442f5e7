//! A stand-in for Secrets Manager: returns secrets over HTTP in its JSON 1.1 protocol, or fails as
//! a test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The answer for a secret.
#[derive(Clone, Debug)]
pub enum StoredSecret {
    Text(String),
    /// Bytes in base64.
    Binary(String),
    /// An internal error on every request.
    InternalError,
}

/// A running stand-in, which stops when dropped.
#[derive(Debug)]
pub struct SecretsManager {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    secrets: Arc<BTreeMap<String, StoredSecret>>,
    calls: Arc<AtomicUsize>,
}

impl SecretsManager {
    /// Starts a stand-in with these secrets by ARN.
    pub async fn start(secrets: BTreeMap<String, StoredSecret>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let calls = Arc::new(AtomicUsize::new(0));
        let shared = Shared {
            secrets: Arc::new(secrets),
            calls: Arc::clone(&calls),
        };
        let router = Router::new().fallback(answer).with_state(shared);
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        Self {
            address,
            calls,
            server,
        }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for SecretsManager {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    shared.calls.fetch_add(1, Ordering::Relaxed);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = header("authorization").is_some_and(|value| value.contains("/secretsmanager/"));
    if header("x-amz-target") != Some("secretsmanager.GetSecretValue") || !signed {
        return refusal(400, "InvalidRequestException");
    }
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let arn = request["SecretId"].as_str().unwrap_or_default();
    let mut secret = json!({"ARN": arn, "Name": "secret", "VersionId": "v1", "CreatedDate": 1.5});
    match shared.secrets.get(arn) {
        Some(StoredSecret::Text(text)) => secret["SecretString"] = json!(text),
        Some(StoredSecret::Binary(bytes)) => secret["SecretBinary"] = json!(bytes),
        Some(StoredSecret::InternalError) => return refusal(500, "InternalServiceError"),
        None => return refusal(400, "ResourceNotFoundException"),
    }
    response(200, &secret)
}

fn refusal(status: u16, kind: &str) -> Response<Body> {
    response(status, &json!({"__type": kind, "Message": "no"}))
}

fn response(status: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.1")
        .body(Body::from(body.to_string()))
        .expect("a response")
}
