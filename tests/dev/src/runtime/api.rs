//! The HTTP side: what an instance sees of Lambda.

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
use super::{Outcome, PAYLOAD_LIMIT, Slots, lock};

/// One event on its way to an instance.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) request_id: String,
    pub(super) deadline_ms: i64,
    pub(super) payload: Vec<u8>,
}

/// What the server keeps for one instance.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) function: String,
    pub(super) work: mpsc::UnboundedSender<Work>,
    inbox: tokio::sync::Mutex<mpsc::UnboundedReceiver<Work>>,
    pub(super) waiting: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    pub(super) first_poll: watch::Sender<Option<Instant>>,
    pub(super) init_error: Mutex<Option<Outcome>>,
}

impl Slot {
    pub(super) fn new(function: String) -> Self {
        let (work, inbox) = mpsc::unbounded_channel();
        Self {
            function,
            work,
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
        // Nobody listens any more when the invocation was given up; that is no error here.
        let _ = waiting.send(Answer::Whole(outcome));
        accepted()
    }
}

/// The routes of the Runtime API below the segment that names the instance.
pub(super) fn router(slots: Slots) -> Router {
    const BASE: &str = "/{instance}/2018-06-01/runtime";
    Router::new()
        .route(&format!("{BASE}/invocation/next"), get(next))
        .route(
            &format!("{BASE}/invocation/{{request}}/response"),
            post(response),
        )
        .route(&format!("{BASE}/invocation/{{request}}/error"), post(error))
        .route(&format!("{BASE}/init/error"), post(init_error))
        // One byte more than the limit must arrive, so that it can be refused by name.
        .layer(DefaultBodyLimit::max(4 * PAYLOAD_LIMIT))
        .with_state(slots)
}

fn find(slots: &Slots, instance: &str) -> Option<Arc<Slot>> {
    lock(slots).get(instance).cloned()
}

async fn next(State(slots): State<Slots>, Path(instance): Path<String>) -> Response<Body> {
    let arrived = Instant::now();
    let Some(slot) = find(&slots, &instance) else {
        return refusal(StatusCode::FORBIDDEN, "UnknownInstance");
    };
    slot.first_poll.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert(arrived);
        is_first
    });
    let Some(work) = slot.inbox.lock().await.recv().await else {
        return refusal(StatusCode::GONE, "Shutdown");
    };
    let arn = format!(
        "arn:aws:lambda:us-east-1:123456789012:function:{}",
        slot.function
    );
    let trace = work.request_id.replace('-', "");
    let trace = format!("Root=1-{}-{};Sampled=0", &trace[..8], &trace[8..]);
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", work.request_id)
        .header("lambda-runtime-deadline-ms", work.deadline_ms)
        .header("lambda-runtime-invoked-function-arn", arn)
        .header("lambda-runtime-trace-id", trace)
        .body(Body::from(work.payload))
        .unwrap_or_default()
}

async fn response(
    State(slots): State<Slots>,
    Path((instance, request)): Path<(String, String)>,
    response: Request<Body>,
) -> Response<Body> {
    let Some(slot) = find(&slots, &instance) else {
        return refusal(StatusCode::FORBIDDEN, "UnknownInstance");
    };
    if stream::is_streamed(response.headers()) {
        let Some(waiting) = lock(&slot.waiting).remove(&request) else {
            return refusal(StatusCode::BAD_REQUEST, "InvalidRequestID");
        };
        stream::receive(waiting, response.into_body()).await;
        return accepted();
    }
    let body = match Bytes::from_request(response, &()).await {
        Ok(body) => body,
        Err(unread) => return unread.into_response(),
    };
    if body.len() > PAYLOAD_LIMIT {
        slot.answer(&request, Outcome::too_large(body.len()));
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
    slot.answer(&request, outcome)
}

async fn error(
    State(slots): State<Slots>,
    Path((instance, request)): Path<(String, String)>,
    body: Bytes,
) -> Response<Body> {
    match find(&slots, &instance) {
        Some(slot) => slot.answer(&request, reported(&body)),
        None => refusal(StatusCode::FORBIDDEN, "UnknownInstance"),
    }
}

async fn init_error(
    State(slots): State<Slots>,
    Path(instance): Path<String>,
    body: Bytes,
) -> Response<Body> {
    let Some(slot) = find(&slots, &instance) else {
        return refusal(StatusCode::FORBIDDEN, "UnknownInstance");
    };
    *lock(&slot.init_error) = Some(reported(&body));
    accepted()
}

/// `{errorType, errorMessage}` as a function reports it.
fn reported(body: &[u8]) -> Outcome {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Outcome::FunctionError {
        error_type: text("errorType"),
        message: text("errorMessage"),
    }
}

fn accepted() -> Response<Body> {
    reply(StatusCode::ACCEPTED, Body::from(r#"{"status":"OK"}"#))
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
