//! The HTTP server: the Runtime API as an instance sees it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, State};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::stream::{self, Answer};
use super::{Instances, MAX_PAYLOAD_BYTES, Outcome, lock};

/// An event that an instance has yet to receive.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) request_id: String,
    pub(super) deadline_ms: i64,
    pub(super) payload: Vec<u8>,
}

/// The server's state of one instance.
#[derive(Debug)]
pub(super) struct InstanceState {
    pub(super) function: String,
    pub(super) invocations: mpsc::UnboundedSender<Invocation>,
    inbox: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    pub(super) waiting: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    pub(super) first_poll: watch::Sender<Option<Instant>>,
    pub(super) init_error: Mutex<Option<Outcome>>,
}

impl InstanceState {
    pub(super) fn new(function: String) -> Self {
        let (invocations, inbox) = mpsc::unbounded_channel();
        Self {
            function,
            invocations,
            inbox: tokio::sync::Mutex::new(inbox),
            waiting: Mutex::default(),
            first_poll: watch::Sender::new(None),
            init_error: Mutex::default(),
        }
    }

    fn answer(&self, request_id: &str, outcome: Outcome) -> Response<Body> {
        let Some(waiting) = lock(&self.waiting).remove(request_id) else {
            return refusal(StatusCode::BAD_REQUEST, "InvalidRequestID");
        };
        // Sending fails if the invocation was given up meanwhile, which is no error here.
        let _ = waiting.send(Answer::Complete(outcome));
        accepted()
    }
}

/// The routes of the Runtime API. The first path segment names the instance.
pub(super) fn router(instances: Instances) -> Router {
    const BASE: &str = "/{instance}/2018-06-01/runtime";
    Router::new()
        .route(&format!("{BASE}/invocation/next"), get(next))
        .route(
            &format!("{BASE}/invocation/{{request}}/response"),
            post(response),
        )
        .route(&format!("{BASE}/invocation/{{request}}/error"), post(error))
        .route(&format!("{BASE}/init/error"), post(init_error))
        // Bodies over the limit must arrive, so that they can be refused with the right error.
        .layer(DefaultBodyLimit::max(4 * MAX_PAYLOAD_BYTES))
        .with_state(instances)
}

fn find(instances: &Instances, instance: &str) -> Option<Arc<InstanceState>> {
    lock(instances).get(instance).cloned()
}

async fn next(State(instances): State<Instances>, Path(instance): Path<String>) -> Response<Body> {
    let arrived = Instant::now();
    let Some(state) = find(&instances, &instance) else {
        return refusal(StatusCode::FORBIDDEN, "UnknownInstance");
    };
    state.first_poll.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert(arrived);
        is_first
    });
    let Some(invocation) = state.inbox.lock().await.recv().await else {
        return refusal(StatusCode::GONE, "Shutdown");
    };
    let arn = format!(
        "arn:aws:lambda:us-east-1:123456789012:function:{}",
        state.function
    );
    let trace = invocation.request_id.replace('-', "");
    let trace = format!("Root=1-{}-{};Sampled=0", &trace[..8], &trace[8..]);
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", invocation.request_id)
        .header("lambda-runtime-deadline-ms", invocation.deadline_ms)
        .header("lambda-runtime-invoked-function-arn", arn)
        .header("lambda-runtime-trace-id", trace)
        .body(Body::from(invocation.payload))
        .unwrap_or_default()
}

async fn response(
    State(instances): State<Instances>,
    Path((instance, request)): Path<(String, String)>,
    response: Request<Body>,
) -> Response<Body> {
    let Some(state) = find(&instances, &instance) else {
        return refusal(StatusCode::FORBIDDEN, "UnknownInstance");
    };
    if stream::is_streamed(response.headers()) {
        let Some(waiting) = lock(&state.waiting).remove(&request) else {
            return refusal(StatusCode::BAD_REQUEST, "InvalidRequestID");
        };
        stream::receive(waiting, response.into_body()).await;
        return accepted();
    }
    let body = match Bytes::from_request(response, &()).await {
        Ok(body) => body,
        Err(rejection) => return rejection.into_response(),
    };
    if body.len() > MAX_PAYLOAD_BYTES {
        state.answer(&request, Outcome::too_large(body.len()));
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge");
    }
    let outcome = if body.is_empty() {
        Outcome::Success(Value::Null)
    } else {
        match serde_json::from_slice(&body) {
            Ok(value) => Outcome::Success(value),
            Err(error) => Outcome::FunctionError {
                error_type: "Runtime.MarshalError".to_owned(),
                message: error.to_string(),
            },
        }
    };
    state.answer(&request, outcome)
}

async fn error(
    State(instances): State<Instances>,
    Path((instance, request)): Path<(String, String)>,
    body: Bytes,
) -> Response<Body> {
    match find(&instances, &instance) {
        Some(state) => state.answer(&request, reported(&body)),
        None => refusal(StatusCode::FORBIDDEN, "UnknownInstance"),
    }
}

async fn init_error(
    State(instances): State<Instances>,
    Path(instance): Path<String>,
    body: Bytes,
) -> Response<Body> {
    let Some(state) = find(&instances, &instance) else {
        return refusal(StatusCode::FORBIDDEN, "UnknownInstance");
    };
    *lock(&state.init_error) = Some(reported(&body));
    accepted()
}

/// The error that a function reports as `{errorType, errorMessage}`.
fn reported(body: &[u8]) -> Outcome {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Outcome::FunctionError {
        error_type: text("errorType"),
        message: text("errorMessage"),
    }
}

/// Has no body, unlike Lambda's: the runtime does not read it, and while it is unread the connection is not free for the
/// next poll, so that the runtime begins to open another one.
fn accepted() -> Response<Body> {
    reply(StatusCode::ACCEPTED, Body::empty())
}

fn refusal(status: StatusCode, error_type: &str) -> Response<Body> {
    let body = json!({"errorType": error_type, "errorMessage": error_type});
    reply(status, Body::from(body.to_string()))
}

fn reply(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
